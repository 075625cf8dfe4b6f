// The section of accuracy against speedup, time or density.
(page => {
  "use strict";
  const {el, text, AXES} = page;

  const TABLE = [
    {name: "method", header: true, text: row => row.method}, {name: "settings", text: row => row.settings},
    {name: "problem", text: row => row.of > 1 ? `mean over ${row.of}` : row.place},
    {name: "tokens", class: "number", text: row => row.of > 1 ? text.NONE : String(row.length)},
    {name: "density", class: "number", text: row => text.fixed(row.density, 4)},
    {name: "recall", class: "number", text: row => text.fixed(row.recall_mean, 4)},
    {name: "error", class: "number", text: row => text.short(row.rel_l2)},
    {name: "speedup", class: "number", text: row => text.fixed(row.speedup, 2)},
    {name: "total", class: "number", text: row => text.seconds(row.total_s)},
    {name: "in doubt", text: row => row.doubts ? `${row.doubts} of ${row.timed}` : row.doubt ? "yes" : ""},
  ];

  function show(model, state, figure, points, y) {
    const x = AXES.x[state.x], target = page.target(model, state), styles = page.styles(model.methods);
    const goal = target && target.figure === y.figure ? y.at(target.value) : null;
    const rows = page.placed(points, x, y, goal);
    const title = `${y.name} against ${x.name}`, methods = page.distinct(rows.map(row => row.point.method)).length;
    page.showFigure(figure, {
      title, height: page.PLOT_HEIGHT, columns: TABLE, rows: rows.map(row => row.point),
      label: `${title}: ${text.plural(rows.length, "setting")} of ${text.plural(methods, "method")}; `
        + "the table below holds the figures",
      spec: page.paretoSpec(rows, x, y, goal, styles, false), describe: datum => page.describePoint(points[datum.i]),
      exportSpec: page.paretoSpec(rows, x, y, goal, styles, true),
    });
    return {drawn: rows.length, below: rows.filter(row => row.isLow).length};
  }

  const controls = (model, state) => el("div", {class: "controls"},
    page.choice("x", "x axis", [["speedup", "speedup"], ["total", "total time"], ["density", "density"]], state.x,
      x => page.set({x})),
    page.choice("recall", "recall as", [["missed", "1 \u2212 recall, log"], ["recall", "recall"]], state.recall,
      recall => page.set({recall})),
    page.checkbox("aggregate", "means over problems", page.isAggregate(model, state),
      aggregate => page.set({aggregate})),
    page.checkbox("trusted", "leave out times in doubt", state.trusted, trusted => page.set({trusted})));

  function legend() {
    const mark = {shape: page.styles(["sale"]).sale.shape, color: page.color("--muted")};
    return el("p", {class: "legend"},
      el("span", {}, page.glyph(mark), "times as measured"),
      el("span", {}, page.glyph(mark, true), "in doubt: busy machine or not converged"),
      el("span", {}, page.svg("svg", {class: "stroke", viewBox: "0 0 22 8", "aria-hidden": "true"},
        page.svg("line", {x1: 0, x2: 22, y1: 4, y2: 4, class: "front"})), "front of the rivals"),
      page.canZoom() && el("span", {class: "hint"}, "drag to move, shift + wheel to zoom, double click to reset"));
  }

  function remarkText(model, state, points, shown) {
    const places = page.distinct(points.map(row => row.placeKey)).length;
    const missing = points.length - Math.max(...shown.map(item => item.drawn));
    const below = Math.max(...shown.map(item => item.below));
    const what = page.isAggregate(model, state)
      ? ": geometric means of times, means of accuracy and density over the problems; hollow if more than a quarter of "
        + "the times are in doubt"
      : ` at ${text.plural(places, "problem")}`;
    return [text.plural(points.length, "setting") + what,
      missing > 0 && `${missing} without usable times not drawn`,
      below > 0 && `${below} below ${page.SMALLEST}, as of exact attention, at the lower edge`,
    ].filter(Boolean).join("; ");
  }

  let figures = null;

  page.renderPareto = (model, state) => {
    const points = page.points(model, state);
    page.fresh(page.part("pareto", "heading"), 0, () => [page.heading("pareto", "Accuracy and time"),
      page.hasPlots() ? null : page.noPlots()]);
    page.fresh(page.part("pareto", "controls"), [model.settings.length > 0, model.problems > 0],
      () => model.settings.length && controls(model, state));
    page.fresh(page.part("pareto", "filters"), page.filterChoices(model, state),
      () => model.settings.length && page.filters(model, state));
    page.fresh(page.part("pareto", "legend"), model.settings.length > 0,
      () => page.hasPlots() && model.settings.length && legend());
    figures ??= [page.figure("error"), page.figure("recall")];
    page.fresh(page.part("pareto", "plots"), [points.length > 0, model.settings.length > 0], () => points.length
      ? el("div", {class: "pair"}, figures.map(figure => figure.node))
      : el("p", {class: "empty"}, model.settings.length ? "The filters leave no setting." : "No cell is ok yet."));
    const ys = [AXES.y.error, AXES.y[state.recall]];
    const shown = points.length ? figures.map((figure, i) => show(model, state, figure, points, ys[i])) : [];
    const remark = points.length ? remarkText(model, state, points, shown) : "";
    page.fresh(page.part("pareto", "remark"), remark, () =>
      el("p", {class: "remark", "aria-live": "polite"}, remark));
  };
})(window.salebench ??= {});
