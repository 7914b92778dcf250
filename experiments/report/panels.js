"use strict";

// Elements, controls and colors that curves and clients use.
const report = { panels: JSON.parse(document.getElementById("data").textContent) };

report.element = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

report.drawing = (name, attributes = {}) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

report.words = (name) => name.replaceAll("_", " ");

report.number = (value) => (value === null ? "none" : String(Number(value.toPrecision(3))));

// A drop-down; each option is a pair of value and text.
report.select = (label, options, value, onchange) => {
  const { element } = report;
  const list = element("select", { onchange: () => onchange(list.value) });
  list.append(...options.map(([key, text]) => element("option", { value: key }, text)));
  list.value = value;
  return element("label", {}, `${label} `, list);
};

// Drop-downs for the tags; the initial choice shows at most the given number of curves.
report.tagFilters = (panel, curves, most, onchange) => {
  const chosen = {};
  const passes = (curve) =>
    Object.entries(chosen).every(([tag, value]) => value === "" || curve.tags[tag] === value);
  const values = {};
  for (const tag of Object.keys(panel.tags)) {
    values[tag] = panel.tags[tag].filter((value) => curves.some((curve) => curve.tags[tag] === value));
    if (values[tag].length < 2) delete values[tag];
  }
  for (const tag of Object.keys(values).reverse()) {
    const many = curves.filter((curve) => curve.chosen && passes(curve)).length > most;
    chosen[tag] = many ? values[tag][0] : "";
  }
  const controls = Object.entries(values).map(([tag, list]) =>
    report.select(
      report.words(tag),
      [["", "all"], ...list.map((value) => [value, value])],
      chosen[tag],
      (value) => {
        chosen[tag] = value;
        onchange();
      },
    ),
  );
  return { controls, passes };
};

// A drop-down that selects one panel of a section with several panels.
report.presetFilter = (part) => {
  const panels = [...(document.getElementById(part)?.querySelectorAll(".panel") ?? [])];
  if (panels.length < 2) return;
  const options = panels.map((panel) => [panel.id, panel.querySelector("h3").textContent]);
  const choose = (id) => panels.forEach((panel) => (panel.hidden = id !== "" && id !== panel.id));
  const list = report.select("Preset", [["", "all presets"], ...options], "", choose);
  panels[0].before(report.element("div", { class: "tools" }, list));
};

// Calls a function when an element comes near the visible area.
report.whenNear = (node, call) => {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      call();
    },
    { rootMargin: "600px" },
  );
  observer.observe(node);
};
