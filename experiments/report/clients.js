"use strict";

// Clients on their graph, colored by a metric, round after round.
(() => {
  const { element, drawing, select, words, number } = report;
  const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const MOST = 6; // graphs shown initially
  const WIDTH = 300;
  const SHORTEST = 70;
  const MARGIN = 18;
  const SECONDS = 10; // per animation

  function colorAt(share) {
    const at = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
    const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
    return VIRIDIS[low].map((value, i) => Math.round(value + (at - low) * (VIRIDIS[low + 1][i] - value)));
  }
  const isLight = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b > 140;

  // Positions in the drawing, with the same scale for both axes and y upward.
  function layout(positions) {
    const spans = [0, 1].map((axis) => {
      const values = positions.map((place) => place[axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const [wide, high] = spans.map(([low, top]) => top - low);
    const room = WIDTH - 2 * MARGIN;
    const scale = room / Math.max(wide, high, 1e-9);
    const height = Math.max(SHORTEST, scale * high + 2 * MARGIN);
    const places = positions.map(([x, y]) => [
      WIDTH / 2 + scale * (x - (spans[0][0] + spans[0][1]) / 2),
      height / 2 - scale * (y - (spans[1][0] + spans[1][1]) / 2),
    ]);
    let nearest = room;
    places.forEach(([x, y], i) => {
      for (const [u, v] of places.slice(0, i)) nearest = Math.min(nearest, Math.hypot(x - u, y - v) || nearest);
    });
    return { places, height, radius: Math.min(Math.max(0.42 * nearest, 2.5), 13) };
  }

  // A drawn graph, with a function that colors its nodes.
  function draw(graph, title) {
    const { places, height, radius } = layout(graph.positions);
    const svg = drawing("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Clients of ${title}` });
    for (const [i, j] of graph.edges) {
      svg.append(drawing("line", { x1: places[i][0], y1: places[i][1], x2: places[j][0], y2: places[j][1] }));
    }
    const nodes = places.map(([x, y], i) => {
      const circle = drawing("circle", { cx: x, cy: y, r: radius, class: "unknown" });
      const tip = drawing("title");
      circle.append(tip);
      svg.append(circle);
      const name = radius >= 7 ? drawing("text", { x, y }) : null;
      if (name) {
        name.textContent = i;
        svg.append(name);
      }
      return { circle, tip, name };
    });
    const paint = (values, [low, high]) =>
      nodes.forEach(({ circle, tip, name }, i) => {
        const value = values[i] ?? null;
        const rgb = colorAt((value - low) / (high - low || 1));
        circle.classList.toggle("unknown", value === null);
        circle.style.fill = value === null ? "" : `rgb(${rgb.join(",")})`;
        tip.textContent = `client ${i}: ${number(value)}`;
        if (name) name.style.fill = value === null ? "var(--text)" : isLight(rgb) ? "#000" : "#fff";
      });
    return { svg, paint };
  }

  function range(curves, metric) {
    const values = curves.flatMap((curve) => curve.clients[metric].values.flat()).filter((value) => value !== null);
    return values.length ? values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]) : [0, 1];
  }

  function build(panel, at) {
    const curves = panel.curves.filter((curve) => curve.chosen && Object.keys(curve.clients).length);
    const state = { metric: panel.client_metrics[0], rounds: [], timer: null, graphs: [] };
    const filters = report.tagFilters(panel, curves, MOST, () => fill());
    const graphs = element("div", { class: "graphs" });
    const bar = element("div", { class: "colorbar" });
    const output = element("output", {});
    const slider = element("input", { type: "range", min: 0, step: 1, value: 0, "aria-label": "round", oninput: () => { stop(); paint(); } });
    const button = element("button", { type: "button", onclick: () => (state.timer ? stop() : play()) }, "▶ Play");

    function stop() {
      clearInterval(state.timer);
      state.timer = null;
      button.textContent = "▶ Play";
    }

    function play() {
      if (Number(slider.value) >= state.rounds.length - 1) slider.value = 0;
      const pause = Math.min(Math.max((1000 * SECONDS) / state.rounds.length, 100), 700);
      button.textContent = "❚❚ Pause";
      state.timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        paint();
        if (Number(slider.value) >= state.rounds.length - 1) stop();
      }, pause);
      paint();
    }

    function paint() {
      const round = state.rounds[Number(slider.value)];
      output.textContent = `round ${round} of ${state.rounds.at(-1)}`;
      slider.setAttribute("aria-valuetext", output.textContent);
      for (const { drawn, log, text } of state.graphs) {
        const frame = log.x.filter((x) => x <= round).length - 1;
        const values = frame < 0 ? [] : log.values[frame];
        drawn.paint(values, state.range);
        const known = values.filter((value) => value !== null);
        const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
        const ended = round > log.x.at(-1) ? ` (ended at round ${log.x.at(-1)})` : "";
        text.textContent = known.length ? `mean ${mean.toFixed(3)}, lowest ${Math.min(...known).toFixed(3)}${ended}` : "not measured yet";
      }
    }

    function fill() {
      stop();
      const shown = curves.filter((curve) => filters.passes(curve) && state.metric in curve.clients);
      state.rounds = [...new Set(shown.flatMap((curve) => curve.clients[state.metric].x))].sort((a, b) => a - b);
      state.range = range(shown, state.metric);
      state.graphs = shown.map((curve) => ({
        curve,
        drawn: draw(panel.graphs[curve.graph], curve.label),
        log: curve.clients[state.metric],
        text: element("span", { class: "caption" }),
      }));
      graphs.replaceChildren(
        ...state.graphs.map(({ curve, drawn, text }) =>
          element("figure", { title: curve.about }, element("div", {}, curve.label), drawn.svg, text)),
      );
      const [low, high] = state.range;
      const stops = VIRIDIS.map((rgb) => `rgb(${rgb.join(",")})`).join(", ");
      bar.replaceChildren(
        element("div", { style: `background: linear-gradient(90deg, ${stops})` }),
        element("span", {}, number(low)),
        element("span", {}, words(state.metric)),
        element("span", {}, number(high)),
      );
      slider.max = Math.max(state.rounds.length - 1, 0);
      slider.value = slider.max;
      if (shown.length) paint();
      else output.textContent = "No client has this metric and these tags.";
    }

    const tools = element(
      "div",
      { class: "tools" },
      select("Metric", panel.client_metrics.map((metric) => [metric, words(metric)]), state.metric, (metric) => { state.metric = metric; fill(); }),
      ...filters.controls,
      element("div", { class: "player" }, button, slider, output),
    );
    const node = element("div", { class: "panel", id: `clients${at}` }, element("h3", {}, panel.name), tools, bar, graphs);
    document.getElementById("clients").append(node);
    report.whenNear(node, fill);
  }

  report.panels.forEach((panel, at) => { if (panel.client_metrics.length) build(panel, at); });
  report.presetFilter("clients");
})();
