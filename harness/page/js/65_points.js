// What the plots of accuracy and time show: the settings that the reader's filters leave, each or as means.
(page => {
  "use strict";
  const {el, text} = page;

  const FEW_PROBLEMS = 6; // up to which each setting at each problem is shown at first
  const DOUBTFUL = 0.25; // share of the times behind a mean from which on it is marked as in doubt

  page.isAggregate = (model, state) => state.aggregate ?? model.problems > FEW_PROBLEMS;

  const FILTERS = ["dataset", "layer", "length", "place"];

  function passes(row, state, except) {
    return FILTERS.every(name => name === except || state[name] === "" || String(row[name]) === state[name]);
  }

  function meanPoint(rows) {
    const timed = rows.filter(row => row.timed), doubts = timed.filter(row => row.doubt).length;
    const point = {...rows[0], of: rows.length, timed: timed.length, doubts};
    for (const name of ["density", "recall_mean", "rel_l2"]) point[name] = page.mean(rows.map(row => row[name]));
    for (const name of ["speedup", "total_s"]) point[name] = page.geometricMean(timed.map(row => row[name]));
    for (const name of ["recall_p05", "speedup_lo", "speedup_hi", "total_lo_s", "total_hi_s"]) point[name] = null;
    point.doubt = doubts > DOUBTFUL * timed.length;
    return point;
  }

  const withoutDoubt = (model, state) => state.trusted ? model.settings.filter(row => !row.doubt) : model.settings;

  page.points = (model, state) => {
    const rows = withoutDoubt(model, state).filter(row => !state.off.has(row.method) && passes(row, state));
    if (!page.isAggregate(model, state))
      return rows.map(row => ({...row, of: 1, group: row.placeKey + "\n" + row.line}));
    const groups = page.groupBy(rows, row => [row.line, row.settings].join("\n"));
    return [...groups.values()].map(group => ({...meanPoint(group), group: group[0].line}));
  };

  function doubtText(point, isMean) {
    if (isMean) return point.doubts > 0 && `${point.doubts} of ${point.timed} times`;
    const reasons = [point.busy && "busy machine", point.timed && !point.converged && "not converged"];
    return reasons.filter(Boolean).join(", ");
  }

  page.describePoint = point => {
    const isMean = page.isNumber(point.doubts), {seconds, fixed, short} = text;
    const interval = (low, high, show) => page.isNumber(low) ? ` (${text.interval(low, high, show)})` : "";
    const time = name => !isMean && page.isNumber(point[name]) && seconds(point[name]);
    return [point.method, [
      ["settings", point.settings],
      isMean ? ["mean over", text.plural(point.of, "problem")] : ["problem", point.place],
      ["dataset", !isMean && point.dataset],
      ["tokens", !isMean && String(point.length)],
      ["layer", !isMean && text.layer(point.layer)],
      ["density", fixed(point.density, 4)],
      ["recall", fixed(point.recall_mean, 4)],
      ["recall, 5th pct.", page.isNumber(point.recall_p05) && fixed(point.recall_p05, 4)],
      ["error", short(point.rel_l2)],
      ["speedup", page.isNumber(point.speedup) && fixed(point.speedup, 2)
        + interval(point.speedup_lo, point.speedup_hi, value => fixed(value, 2))],
      ["total", page.isNumber(point.total_s) && seconds(point.total_s)
        + interval(point.total_lo_s, point.total_hi_s, seconds)],
      ["select", time("select_s")],
      ["index", time("index_s")],
      ["attend", time("attend_s")],
      ["dense", time("dense_s")],
      ["rounds", !isMean && point.rounds > 1 && String(point.rounds)],
      ["kind", point.kind !== "rival" && point.kind],
      ["status", !isMean && point.status + (point.timed ? "" : ", no usable times")],
      ["in doubt", doubtText(point, isMean)],
      ["remark", !isMean && point.reason],
    ]];
  };

  function methodChecks(model, state) {
    const styles = page.styles(model.methods), present = page.distinct(model.settings.map(row => row.method));
    const setAll = off => {
      page.set({off: new Set(off ? present : [])});
      for (const box of document.querySelectorAll(".methods input")) box.checked = !off;
    };
    return el("fieldset", {class: "methods"}, el("legend", {}, "methods"),
      present.map((method, i) => page.checkbox(`method-${i}`, method, !state.off.has(method), checked => {
        const off = new Set(state.off);
        if (checked) off.delete(method); else off.add(method);
        page.set({off});
      }, page.glyph(styles[method]))),
      el("span", {class: "buttons"},
        el("button", {type: "button", id: "methods-all", onclick: () => setAll(false)}, "all"),
        el("button", {type: "button", id: "methods-none", onclick: () => setAll(true)}, "none")));
  }

  // Only filters that have something to choose.
  function selects(model, state) {
    const places = model.settings.filter(row => passes(row, {...state, place: ""}));
    const choices = [
      ["dataset", "dataset", model.datasets.map(name => [name, name || text.NONE])],
      ["layer", "layer", model.layers.map(layer => [layer, text.layer(layer)])],
      ["length", "tokens", model.lengths.map(length => [length, String(length)])],
      ["place", "problem", page.distinct(places.map(row => row.place)).map(name => [name, name])],
    ];
    const useful = choices.filter(([name, , options]) => options.length > 1 || state[name] !== "");
    return useful.map(([name, label, options]) =>
      page.select(`filter-${name}`, label, [["", "all"], ...options], state[name],
        value => page.set(name === "place" ? {place: value} : {[name]: value, place: ""})));
  }

  page.filters = (model, state) => [
    el("div", {class: "controls"}, selects(model, state)),
    el("div", {class: "controls"}, methodChecks(model, state)),
  ];

  // What the choices depend on: filters are made anew when it changes.
  page.filterChoices = (model, state) => [page.distinct(model.settings.map(row => row.method)), model.datasets,
    model.layers, model.lengths, page.distinct(model.settings.map(row => row.place)), state.dataset, state.layer,
    state.length];
})(window.salebench ??= {});
