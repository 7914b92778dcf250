"""Every number of the public interface that is no shape, with values to try.

``CASES["package.module.function parameter"]`` is a function of the number, and the values.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np

import jcollab as jc
from jcollab import aggregators as ag
from jcollab import algorithms, local, mixing, objectives
from jcollab.channels import attacks
from jcollab.data import synthetic
from jcollab.flows import perturb
from jcollab.local import row_sparse, schedules
from jcollab.objectives import prototypes
from jcollab.text import pair_training
from jcollab.theory import arrivals, averaging, noise_scale
from tests.traced import uses
from tests.traced.uses import KEY, RING, SGD, D, N, X, Y, loss, predict

HALVES, FROM_0 = (0.25, 0.5), (0.0, 0.3)
GOSSIP = jc.gossip(RING)
CASES = {}


def name_of(function):
    return f"{function.__module__.removeprefix('jcollab.')}.{function.__name__}"


def case(function, use, *given, **values):
    """Leaves each of the numbers open in turn, while the others have their first value."""
    has_options = bool(given) and isinstance(given[-1], dict)
    options, given = (given[-1], given[:-1]) if has_options else ({}, given)
    needed = inspect.signature(function).parameters
    first = {k: v[0] for k, v in values.items() if needed[k].default is needed[k].empty}
    for parameter in values:

        def call(v, parameter=parameter):
            return use(function(*given, **first | options | {parameter: v}))

        CASES[f"{name_of(function)} {parameter}"] = call, values[parameter]


def other(function, parameter, call, values):
    CASES[f"{name_of(function)} {parameter}"] = call, values


# rules, attacks, channels
case(ag.centered_clip, uses.chosen, radius=HALVES)
case(ag.self_centered_clip, uses.chosen, radius=HALVES)
case(ag.geometric_median, uses.chosen, {"iterations": 3}, smoothing=HALVES)
case(ag.ubar, uses.chosen, loss, ratio=(0.4, 0.9), own_weight=HALVES, learning_rate=(0.0, 0.1))
case(ag.apply, uses.value, ag.weighted(), X[0], X[1:], weights=(np.full(3, 0.1), np.full(3, 0.3)))
case(attacks.alie, uses.attacked, z=HALVES)
case(attacks.dissensus, uses.attacked, epsilon=HALVES)
case(attacks.gaussian, uses.attacked, scale=HALVES)
case(attacks.inner_product_manipulation, uses.attacked, epsilon=HALVES)
case(attacks.mimic, uses.attacked, client=(0, 2))
case(attacks.choose, uses.attacked, [attacks.bit_flip(), attacks.mimic(1)], index=(0, 1))
case(jc.channels.drop, uses.sent, probability=HALVES)

# graphs and mixers
W = jc.topology.mixing_matrix(RING)
MATRICES = (0.5 * np.eye(N) + 0.5 * W, W)
case(jc.gossip, uses.mixed, topology=MATRICES)
case(jc.topology.with_weights, uses.weighing, RING, matrix=MATRICES)
case(jc.topology.constant_weights, uses.value, RING, weight=HALVES)
case(
    jc.topology.two_cliques,
    lambda graph: jc.topology.mixing_matrix(graph.topology),
    {"clique": 3},
    weight=HALVES,
)
case(mixing.lazy_mixing, uses.mixed, GOSSIP, weight=(0.3, 1.0))
other(jc.mix_every, "period", lambda v: uses.mixed(jc.mix_every(v, jc.all_reduce())), (1, 2))
case(mixing.collaboration, uses.mixed, matrix=MATRICES)
case(mixing.personal_average, uses.mixed, weight=FROM_0, counts=(np.ones(N), np.arange(1.0, 5)))
case(
    mixing.personal_average,
    uses.mixed,
    averaging.positive_part,
    variance=(0.1, 0.3),
    memory=(0.0, 0.5),
)

# algorithms
case(algorithms.decentralized, uses.trained, loss, SGD, GOSSIP, mixing_weight=(0.0, 0.4, 1.0))
case(
    algorithms.quasi_global_momentum,
    uses.trained,
    {"loss": loss, "mixer": GOSSIP},
    learning_rate=(0.1, 0.0),
    momentum=(0.0, 0.5),
)
case(
    algorithms.dbat,
    uses.trained,
    loss,
    predict,
    SGD,
    {"unlabeled": lambda batch: batch[None]},
    alpha=(0.5, 0.0),
    member_rounds=(1, 2),
    epsilon=(1e-7, 0.1),
)
case(
    algorithms.collaborative_dbat,
    uses.trained,
    loss,
    predict,
    SGD,
    {"public": lambda batch: batch},
    alpha=(0.5, 0.0),
    against=(np.ones((N, N)), np.tri(N)),
    warmup=(0, 1),
    epsilon=(1e-7, 0.1),
)
case(
    algorithms.federated,
    uses.in_steps,
    loss,
    SGD,
    {"local_steps": 2},
    weights=(np.ones(N), np.arange(N)),
    num_steps=(np.full(N, 2), np.array([1, 1, 2, 2])),
    dropout=(0.0, 0.5),
)
case(algorithms.asynchronous, uses.trained, loss, SGD, np.arange(4), buffer_size=(1, 2))
case(algorithms.grad_align, uses.trained, loss, SGD, beta=FROM_0)
case(algorithms.apfl, uses.trained, loss, SGD, jc.all_reduce(), weight=HALVES, weight_rate=FROM_0)
case(algorithms.ditto, uses.trained, jc.centralized(loss, SGD), loss, SGD, attraction=FROM_0)
case(
    algorithms.representation_sharing,
    uses.shared,
    uses.group(),
    SGD,
    jc.server(),
    objectives.representation_sharing(1.0, 0.0),
    {"num_classes": 2, "num_features": D},
    own_share=(0.0, 0.25),
)

# local steps
case(local.scale_by_raw_amsgrad, uses.optimized, b1=HALVES, b2=HALVES, eps=HALVES)
case(local.coordinate_delays, uses.optimized, KEY, {"maximum": 2}, delay=(0, 1, 2))
case(local.random_delays, uses.optimized, KEY, {"maximum": 2}, delay=(0, 1, 2))
case(local.delay_updates, uses.optimized, {"maximum": 2}, delay=(0, 1, 2))
case(local.critical_staleness, uses.over_delays, noise_ratio=HALVES)
case(local.drop_stale, uses.over_delays, largest=(0, 1))
case(local.polynomial_staleness, uses.over_delays, power=HALVES)
case(local.feddyn, uses.method, alpha=HALVES)
case(local.fedga, uses.method, beta=FROM_0)
case(local.fednova, uses.method, momentum=FROM_0)
case(local.fedprox, uses.method, mu=FROM_0)
case(local.proximal, uses.optimized, penalty=FROM_0)
case(row_sparse.adam, uses.on_rows, learning_rate=HALVES, b1=HALVES, b2=HALVES, epsilon=HALVES)
case(
    pair_training.released_optimizer,
    uses.optimized,
    {"epoch_rounds": 2},
    learning_rate=HALVES,
    decay_from=(0.5, 1.0),
    warmup=(1, 2),
    weight_decay=FROM_0,
)
case(row_sparse.sgd, uses.on_rows, learning_rate=HALVES)
case(
    schedules.warmup_step_decay,
    uses.over_steps,
    base=HALVES,
    steps_per_epoch=(1, 2),
    warmup_epochs=(1.5, 0.0),
    milestones=(np.array([1.5, 3]), np.array([2.0, 2.2])),
    factor=HALVES,
)

# data, objectives, privacy, models
case(jc.data.rotate, uses.value, jnp.ones((2, 4, 4, 1)), degrees=(0.0, 30.0))
case(jc.data.brighten, uses.value, jnp.ones((2, 4, 4, 1)), factor=HALVES)
case(jc.data.mixup, uses.augmented, 2, alpha=(0.5, 2.0))
case(
    jc.data.normalize,
    uses.value,
    X,
    mean=(np.zeros(D), np.ones(D)),
    std=(np.ones(D), np.full(D, 2.0)),
)
case(synthetic.quadratic_loss, uses.quadratic, noise=HALVES)
case(
    synthetic.gaussian_regression,
    uses.sampled,
    eigenvalues=(np.ones(D), np.full(D, 0.5)),
    label_noise=FROM_0,
)
case(synthetic.regression_samples, uses.of_problem, {"maximum": 3}, batch_size=(1, 3))
case(objectives.alignment, uses.value, X, Y, "cosine", temperature=HALVES)
case(objectives.contrastive, uses.value, X, Y, temperature=HALVES, margin=FROM_0)
TERMS = {"tasks": ("align", "contrastive")}
PAIRED = {"weights": ((1.0, 2.0), (0.5, 3.0)), "temperature": HALVES, "margin": FROM_0}
case(objectives.crosslingual, uses.on_pairs, uses.encode, 9, TERMS, **PAIRED, drop=(0.5, 0.0))
case(
    pair_training.pair_loss,
    uses.on_pairs,
    uses.ENCODER,
    uses.PIECES,
    TERMS,
    **PAIRED,
    drop=(0.5, 0.0),
)
case(objectives.agreement, uses.value, X, Y[None], epsilon=HALVES)
case(objectives.binary_agreement, uses.value, 0.2, 0.7, epsilon=HALVES)
case(objectives.pair_agreement, uses.value, X, Y, epsilon=HALVES)
case(
    objectives.disagreement_points, uses.searched, {"num_steps": 2}, radius=HALVES, step_size=HALVES
)
case(
    objectives.sign_ascent,
    uses.value,
    lambda x: (x * Y[0]).sum(),
    X,
    jnp.zeros((N, D)),
    {"num_steps": 2},
    radius=HALVES,
    step_size=HALVES,
)
case(
    prototypes.unweigh,
    uses.value,
    prototypes.Prototypes(X, jnp.ones(N)),
    prototypes.Prototypes(Y, jnp.ones(N)),
    own_share=(0.0, 0.25),
)
case(objectives.federated_distillation, uses.sharing, weight=HALVES)
case(
    objectives.representation_sharing,
    uses.sharing,
    distillation_weight=HALVES,
    discrimination_weight=HALVES,
)
case(objectives.clipped_logistic, uses.value, X, clip=HALVES)
case(objectives.negative_sampling, uses.value, X, Y, Y[None], clip=HALVES)
case(
    objectives.x2static,
    uses.value,
    X,
    Y[:2],
    jnp.array([0, 1]),
    jnp.array([[2, 3]]),
    clip=HALVES,
)
case(objectives.x2static_loss, uses.on_words, clip=HALVES)
case(objectives.bag_loss, uses.on_words, clip=HALVES)
case(jc.privacy.gaussian_mechanism, uses.noisy, noise_multiplier=HALVES, norm_bound=HALVES)
case(jc.models.vae, uses.images, (1, 2, 1), {"latents": 1, "hidden": (2,)}, weight=HALVES)

# flows and perturbations
IMAGES = X[:, None, :, None]
COUPLING = jc.flows.coupling_flow(blocks=1, hidden=2, num_classes=None)
FINISH = {"clip": HALVES, "ratio": HALVES}
ASCENT = {"radius": HALVES, "step_size": HALVES}
case(perturb.randomized, uses.augmented, uses.Latents, (), radius=HALVES, **FINISH)
case(perturb.away, uses.augmented, uses.Latents, (), radius=HALVES, **FINISH)
case(
    perturb.adversarial,
    uses.augmented,
    predict,
    uses.Latents,
    (),
    {"num_steps": 2},
    **ASCENT,
    **FINISH,
)
case(perturb.pgd, uses.augmented, predict, {"num_steps": 2}, **ASCENT, **FINISH)
case(jc.flows.ascend, uses.value, jnp.sum, X, {"num_steps": 2, "norm": "l2"}, **ASCENT)
case(jc.flows.project, uses.value, X, {"norm": "l2"}, radius=HALVES)
case(jc.flows.jittered, uses.value, X, KEY, std=HALVES)
case(
    jc.flows.coupling_flow,
    uses.density,
    {"blocks": 1, "hidden": 2, "num_classes": None},
    clamp=(1.0, 2.0),
)
case(
    jc.flows.conditional_coupling,
    lambda block: block.forward(X),
    jax.tree.map(lambda leaf: leaf[0], COUPLING.init(KEY, IMAGES)),
    {},
    clamp=(1.0, 2.0),
)
for function, given in ((jc.flows.sample, (KEY, (1, D, 1))), (jc.flows.distribution, ((1, D, 1),))):
    case(
        function,
        lambda drawn: drawn.log_prob(IMAGES) if hasattr(drawn, "log_prob") else drawn,
        COUPLING,
        COUPLING.init(KEY, IMAGES),
        *given,
        temperature=HALVES,
    )

# theory
TIMES = np.array([1.0, 1.5, 2.3])
case(arrivals.compute_times, uses.value, KEY, 3, arrivals.exponential(), mean=HALVES)
case(arrivals.gamma, uses.drawn, shape=(0.5, 2.0))
case(arrivals.lognormal, uses.drawn, sigma=HALVES)
case(arrivals.straggling, uses.drawn, probability=(0.0, 1.0), factor=HALVES)
case(arrivals.round_robin, uses.value, 5, n=(2, 3))
case(
    arrivals.simulate,
    uses.value,
    KEY,
    5,
    compute_time=(TIMES, TIMES[::-1]),
    link_time=FROM_0,
    joins=FROM_0,
    leaves=(np.inf, 30.0),
)
case(noise_scale.critical, uses.value, noise_ratio=HALVES, variance=HALVES, accuracy=HALVES)
case(
    noise_scale.suggest_learning_rate,
    uses.value,
    critical=HALVES,
    base=HALVES,
    batch_size=(1, 2),
    delay=(0, 2),
)
case(
    noise_scale.two_batches,
    uses.value,
    small_square=HALVES,
    large_square=HALVES,
    small=(1, 2),
    large=(4, 5),
)
case(averaging.oracle, lambda rule: rule(1.0, 0.5, 0.7), bias=HALVES)
case(averaging.others_mean, uses.value, X, counts=(np.ones(N), np.arange(1.0, 5)))
case(
    averaging.others_variance,
    uses.value,
    variances=(np.ones(N), np.arange(1.0, 5)),
    counts=(np.ones(N), np.arange(1.0, 5)),
)
NODES = {"variances": (np.ones(3), np.array([0.5, 2, 1])), "biases": (np.zeros(3), np.arange(3.0))}
case(averaging.multi_node_weights, uses.value, **NODES)
case(averaging.multi_node_risk, uses.value, weights=(np.full(3, 1 / 3), np.eye(3)[0]), **NODES)
RISK = {"local_variance": HALVES, "global_variance": HALVES}
MOMENTS = RISK | {"bias": HALVES, "covariance": (0.0, 0.2), "local_bias": HALVES}
POPULATION = {"num_clients": (3.0, 5.0), "num_samples": (2.0, 4.0), "variance": HALVES}
POPULATION |= {"spread": HALVES}
SQUARE = {"squared_distance": (0.4, 3.0)} | RISK
for function in (averaging.optimal_weight, averaging.optimal_risk, averaging.break_even):
    case(function, uses.value, **MOMENTS)
for function in (averaging.risk, averaging.benefit):
    case(function, uses.value, weight=HALVES, **MOMENTS)
for function in (averaging.exclusive_weight, averaging.inclusive_weight):
    case(function, uses.value, weight=HALVES, own_share=(0.1, 0.2))
for function in (averaging.naive, averaging.positive_part, averaging.clipped_ratio):
    case(function, uses.value, **SQUARE)
case(averaging.pre_test, uses.value, **SQUARE, threshold=HALVES)
SQUARES = {"squared_distance": (np.ones(N), np.arange(4.0))}
case(averaging.shared_bias, uses.value, **SQUARES, **RISK)
case(averaging.plug_in_weight, uses.value, averaging.naive, X[0], Y[0], **RISK)
case(averaging.plug_in_risk, uses.value, averaging.naive, {"num_nodes": 99}, **RISK, bias=HALVES)
case(averaging.relative_benefit, uses.value, relative_weight=HALVES)
case(averaging.pooled_weight, uses.value, num_local=(3, 4), num_others=(5, 9))
case(averaging.sampling_variance, uses.value, variance=HALVES, num_samples=(3, 4))
case(averaging.population_moments, uses.value, **POPULATION)
case(averaging.population_weight, uses.value, **POPULATION)
case(averaging.population_risk, uses.value, weight=HALVES, **POPULATION)
