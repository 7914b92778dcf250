"use strict";

// Curves with bands, drawn by bokeh: one panel for each preset.
(() => {
  const { element, drawing, select, words } = report;
  const COLORS = ["#3b82d6", "#e0752d", "#2fa36b", "#d6456b", "#8f6fd8", "#b08a1e", "#20a5b5", "#c061b0", "#7a8aa0", "#8c5a3c"];
  const DASHES = [[], [8, 4], [2, 4], [8, 4, 2, 4], [14, 5]]; // one per run
  const MOST = 12; // curves shown initially
  const MARKED = 40; // points with a marker
  const KINDS = {
    confidence: "95 % confidence interval of the mean (Student t)",
    range: "minimum to maximum",
  };
  const drawn = [];

  const name = (curve, everySetting) => (everySetting && curve.setting ? `${curve.label}, ${curve.setting}` : curve.label);
  const color = (curve) => COLORS[curve.color % COLORS.length];
  const width = (curve) => (curve.chosen ? 2 : 1);
  const alpha = (curve) => (curve.chosen ? 1 : 0.6);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const numbers = (values) => Float64Array.from(values, (value) => (value === null ? NaN : value));

  function figure(metric, logarithmic) {
    const plot = Bokeh.Plotting.figure({
      height: 380,
      sizing_mode: "stretch_width",
      tools: "pan,box_zoom,reset,save",
      toolbar_location: "above",
      y_axis_type: logarithmic ? "log" : "linear",
      x_range: new Bokeh.DataRange1d({ only_visible: true }),
      y_range: new Bokeh.DataRange1d({ only_visible: true }),
    });
    plot.toolbar.logo = null;
    plot.toolbar.active_drag = null; // dragging scrolls the page on touch screens
    plot.background_fill_color = null;
    plot.border_fill_color = null;
    plot.outline_line_color = style("--line");
    for (const axis of [...plot.below, ...plot.left]) {
      axis.axis_label_text_color = axis.major_label_text_color = style("--text");
      axis.axis_label_text_font_style = "normal";
      axis.axis_label_text_font_size = "13px";
      axis.major_label_text_font_size = "12px";
      axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = style("--strong");
    }
    for (const grid of plot.center) grid.grid_line_color = style("--line");
    plot.below[0].axis_label = "round";
    plot.below[0].ticker.min_interval = 1; // rounds are integers
    plot.below[0].minor_tick_line_color = null;
    plot.left[0].axis_label = words(metric);
    return plot;
  }

  // Adds band, line and markers of a curve under one name; returns the line.
  function add(plot, curve, data, { name, label, floor }) {
    const onAxis = (values) => numbers(values).map((value) => (floor && value <= 0 ? NaN : value));
    const edge = (values) => numbers(values).map((value) => (floor ? Math.max(value, floor) : value));
    const text = data.mean.map((mean, i) =>
      data.low ? `${report.number(mean)}, band ${report.number(data.low[i])} to ${report.number(data.high[i])}` : report.number(mean));
    const source = new Bokeh.ColumnDataSource({
      data: {
        x: numbers(data.x),
        y: onAxis(data.mean),
        low: edge(data.low ?? data.mean),
        high: edge(data.high ?? data.mean),
        label: data.x.map(() => label),
        text,
      },
    });
    const shared = { source, name };
    if (data.low) {
      plot.varea({ field: "x" }, { field: "low" }, { field: "high" }, { ...shared, fill_color: color(curve), fill_alpha: alpha(curve) * 0.18 });
    }
    if (data.x.length <= MARKED) {
      plot.scatter({ field: "x" }, { field: "y" }, { ...shared, size: curve.chosen ? 5 : 3, fill_color: color(curve), line_color: color(curve) });
    }
    const line_dash = DASHES[curve.dash % DASHES.length];
    return plot.line({ field: "x" }, { field: "y" }, { ...shared, line_color: color(curve), line_width: width(curve), line_alpha: alpha(curve), line_dash });
  }

  function caption(curves, metric, logarithmic) {
    const seeds = [...new Set(curves.map((curve) => curve.seeds))].sort((a, b) => a - b);
    const kinds = [...new Set(curves.map((curve) => curve.data[metric].kind))].filter((kind) => kind in KINDS);
    const count = seeds.length > 1 ? `${seeds[0]} to ${seeds.at(-1)} seeds` : seeds[0] === 1 ? "1 seed" : `${seeds[0]} seeds`;
    const parts = [seeds.at(-1) > 1 ? `Line: mean over ${count}.` : "Line: 1 seed, no band."];
    if (kinds.length) parts.push(`Band: ${kinds.map((kind) => KINDS[kind]).join(", or with fewer than 3 seeds ")}.`);
    if (curves.some((curve) => curve.data[metric].thinned)) parts.push("Curves show at most 500 of their points.");
    if (logarithmic) parts.push("Values of 0 or less are below the axis.");
    return parts.join(" ");
  }

  function swatch(curve) {
    const icon = drawing("svg", { width: 26, height: 12, "aria-hidden": "true" });
    icon.append(
      drawing("rect", { x: 0, y: 0, width: 26, height: 12, fill: color(curve), opacity: alpha(curve) * 0.18 }),
      drawing("line", { x1: 0, x2: 26, y1: 6, y2: 6, stroke: color(curve), "stroke-width": width(curve), "stroke-dasharray": DASHES[curve.dash % DASHES.length].join(" ") }),
    );
    return icon;
  }

  function build(panel, number) {
    const state = { metric: panel.metrics[0], logarithmic: false, everySetting: false, hidden: new Set(), view: null, drawing: 0 };
    const place = element("div", { class: "plot" });
    const legend = element("div", { class: "legend", role: "group", "aria-label": `Curves of ${panel.name}` });
    const note = element("p", { class: "caption" });
    const filters = report.tagFilters(panel, panel.curves, MOST, () => draw());
    const checkbox = (label, key) =>
      element("label", {}, element("input", { type: "checkbox", onchange: (event) => { state[key] = event.target.checked; draw(); } }), label);

    const shown = () =>
      panel.curves
        .map((curve, at) => [curve, at])
        .filter(([curve]) => (curve.chosen || state.everySetting) && filters.passes(curve) && state.metric in curve.data);

    function toggle(at, visible) {
      if (visible) state.hidden.delete(at);
      else state.hidden.add(at);
      legend.querySelector(`[data-curve="${at}"]`).setAttribute("aria-pressed", String(visible));
      for (const renderer of state.plot?.renderers ?? []) {
        if (renderer.name === `curve ${at}`) renderer.visible = visible;
      }
    }

    function fillLegend(curves) {
      legend.replaceChildren(
        ...curves.map(([curve, at]) =>
          element(
            "button",
            { type: "button", "data-curve": at, title: curve.about, "aria-pressed": String(!state.hidden.has(at)), onclick: () => toggle(at, state.hidden.has(at)) },
            swatch(curve),
            name(curve, state.everySetting),
          ),
        ),
      );
      if (curves.length > 2) {
        const all = (visible) => curves.forEach(([, at]) => toggle(at, visible));
        legend.append(
          element("button", { type: "button", class: "plain", onclick: () => all(true) }, "show all"),
          element("button", { type: "button", class: "plain", onclick: () => all(false) }, "hide all"),
        );
      }
    }

    async function draw() {
      const turn = ++state.drawing;
      const curves = shown();
      fillLegend(curves);
      state.view?.remove();
      state.view = state.plot = null;
      place.replaceChildren();
      if (!curves.length) {
        note.textContent = "No curve has this metric and these tags.";
        return;
      }
      const positive = curves.flatMap(([curve]) => curve.data[state.metric].mean).filter((value) => value > 0);
      const logarithmic = state.logarithmic && positive.length > 0;
      note.textContent = caption(curves.map(([curve]) => curve), state.metric, logarithmic);
      const plot = figure(state.metric, logarithmic);
      const floor = logarithmic ? Math.min(...positive) / 1e6 : 0;
      const lines = curves.map(([curve, at]) => add(plot, curve, curve.data[state.metric], { name: `curve ${at}`, label: name(curve, state.everySetting), floor }));
      if (floor) plot.y_range.renderers = lines; // bands may reach 0, which a logarithmic axis cannot show
      const tooltips = [["curve", "@label"], ["round", "@x"], [words(state.metric), "@text"]];
      plot.add_tools(new Bokeh.HoverTool({ tooltips, renderers: lines, line_policy: "nearest" }));
      for (const renderer of plot.renderers) renderer.visible = !state.hidden.has(Number(renderer.name.split(" ")[1]));
      state.plot = plot;
      const view = await Bokeh.Plotting.show(plot, place);
      if (turn === state.drawing) state.view = view;
      else view.remove();
    }

    const tools = element(
      "div",
      { class: "tools" },
      select("Metric", panel.metrics.map((metric) => [metric, words(metric)]), state.metric, (metric) => { state.metric = metric; draw(); }),
      ...filters.controls,
      checkbox("logarithmic", "logarithmic"),
    );
    if (panel.curves.some((curve) => !curve.chosen)) tools.append(checkbox("also settings that tuning did not choose", "everySetting"));
    const node = element("div", { class: "panel", id: `curves${number}` }, element("h3", {}, panel.name), tools, place, legend, note);
    document.getElementById("curves").append(node);
    report.whenNear(node, () => { drawn.push(draw); draw(); });
    panel.state = state;
  }

  report.panels.forEach((panel, number) => { if (panel.metrics.length) build(panel, number); });
  report.presetFilter("curves");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((draw) => draw()));
})();
