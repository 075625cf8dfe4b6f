// Colours and shapes: a method has the same ones everywhere, told apart without colours too.
(page => {
  "use strict";

  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  page.isDark = () => scheme.matches;
  page.onSchemeChange = listener => scheme.addEventListener("change", listener);

  // SVG paths within -1..1: Vega takes them as shapes, and the page's own marks draw them.
  const SHAPES = {
    circle: "M-0.9,0A0.9,0.9,0,1,1,0.9,0A0.9,0.9,0,1,1,-0.9,0Z",
    square: "M-0.8,-0.8L0.8,-0.8L0.8,0.8L-0.8,0.8Z",
    up: "M0,-1L1,0.75L-1,0.75Z",
    diamond: "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    cross: "M-0.9,-0.55L-0.55,-0.9L0,-0.35L0.55,-0.9L0.9,-0.55L0.35,0L0.9,0.55L0.55,0.9L0,0.35L-0.55,0.9L-0.9,0.55"
      + "L-0.35,0Z",
    down: "M0,1L1,-0.75L-1,-0.75Z",
    plus: "M-0.33,-1L0.33,-1L0.33,-0.33L1,-0.33L1,0.33L0.33,0.33L0.33,1L-0.33,1L-0.33,0.33L-1,0.33L-1,-0.33L-0.33,-0.33"
      + "Z",
    right: "M1,0L-0.75,1L-0.75,-1Z",
    left: "M-1,0L0.75,-1L0.75,1Z",
    pentagon: "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",
    star: "M0,-1.1L0.29,-0.4L1.05,-0.34L0.47,0.15L0.65,0.89L0,0.49L-0.65,0.89L-0.47,0.15L-1.05,-0.34L-0.29,-0.4Z",
    thin: "M0,-1.1L0.6,0L0,1.1L-0.6,0Z",
    hexagon: "M-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87L-1,0Z",
  };

  // On light, on dark, shape. The usual methods look as in the notebooks.
  const USUAL = {
    dense: ["#000000", "#eceff3", "diamond"],
    oracle_topk: ["#777777", "#a0a6ad", "cross"],
    sale: ["#0072b2", "#4aaeea", "circle"],
    block_topk: ["#d55e00", "#ff8b45", "square"],
    streaming: ["#009e73", "#2cc698", "up"],
  };
  const COLORS = [["#cc79a7", "#e29cc2"], ["#d98e00", "#f2b53a"], ["#3f9fd8", "#8fd0f5"], ["#882255", "#d2709f"],
    ["#88882b", "#c6c653"], ["#332288", "#9a8fe8"], ["#aa4499", "#d283c8"], ["#661100", "#d67c62"]];
  const FREE = ["down", "plus", "right", "cross", "left", "pentagon", "thin", "star", "hexagon"];

  page.styles = methods => {
    const styles = {}, others = methods.filter(method => !Object.hasOwn(USUAL, method)).sort();
    for (const method of methods) {
      const number = others.indexOf(method);
      const [light, dark, shape] = number < 0 ? USUAL[method]
        : [...COLORS[number % COLORS.length], FREE[number % FREE.length]];
      styles[method] = {color: page.isDark() ? dark : light, shape: SHAPES[shape]};
    }
    return styles;
  };

  // The mark of a method as in the plots.
  page.glyph = ({shape, color}, hollow = false) => page.svg("svg",
    {class: "glyph", viewBox: "-1.5 -1.5 3 3", "aria-hidden": "true"},
    page.svg("path", {d: shape, fill: hollow ? "none" : color, stroke: color, "stroke-width": 0.3}));

  const PHASES = {
    select: ["#d9982f", "#e5ad4e"],
    index: ["#a2559c", "#c583bf"],
    attend: ["#5f7d99", "#7f9dba"],
  };
  page.phaseColor = phase => PHASES[phase][page.isDark() ? 1 : 0];

  // From none to much, in one hue each.
  const RAMPS = {
    density: [["#eef3f9", "#8fb5d9", "#12467c"], ["#1d2630", "#2f638f", "#a5d4fb"]],
    recall_mean: [["#edf5ee", "#8cc29b", "#155c33"], ["#1b2822", "#2f7a55", "#a4e6bf"]],
    rel_l2: [["#fbf1e8", "#e6a877", "#8a3406"], ["#2a221c", "#9a5a2c", "#ffc396"]],
  };
  page.ramp = figure => RAMPS[figure][page.isDark() ? 1 : 0];

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  page.vegaConfig = () => {
    const text = css("--text"), muted = css("--muted"), rule = css("--rule"), font = css("--font");
    return {
      background: null, font, aria: false, view: {stroke: null},
      axis: {labelColor: muted, titleColor: text, domainColor: rule, tickColor: rule, gridColor: css("--grid"),
        labelFontSize: 11, titleFontSize: 12, titleFontWeight: 500, titlePadding: 8, labelPadding: 4,
        labelOverlap: "greedy"},
      legend: {labelColor: muted, titleColor: text, labelFontSize: 11, titleFontSize: 11, titleFontWeight: 500},
    };
  };
  page.color = css;
})(window.salebench ??= {});
