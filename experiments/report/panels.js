"use strict";

// What curves and clients share: elements, controls and colors.
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

// A drop-down; an option is a pair of value and text.
report.select = (label, options, value, onchange) => {
  const { element } = report;
  const list = element("select", { onchange: () => onchange(list.value) });
  list.append(...options.map(([key, text]) => element("option", { value: key }, text)));
  list.value = value;
  return element("label", {}, `${label} `, list);
};

// Drop-downs for the tags, which begin with a choice that leaves at most so many curves.
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

// A drop-down that shows one panel of a part of the page, where it has several.
report.presetFilter = (part) => {
  const panels = [...(document.getElementById(part)?.querySelectorAll(".panel") ?? [])];
  if (panels.length < 2) return;
  const options = panels.map((panel) => [panel.id, panel.querySelector("h3").textContent]);
  const choose = (id) => panels.forEach((panel) => (panel.hidden = id !== "" && id !== panel.id));
  const list = report.select("Preset", [["", "all presets"], ...options], "", choose);
  panels[0].before(report.element("div", { class: "tools" }, list));
};

// Calls a function when an element gets near the window.
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
