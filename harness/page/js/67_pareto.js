// How accuracy against speedup, time or density is drawn.
(page => {
  "use strict";
  const {text} = page;

  page.AXES = {
    x: {
      speedup: {field: "speedup", name: "speedup over dense", low: "speedup_lo", high: "speedup_hi", log: true},
      total: {field: "total_s", name: "total time", unit: ", s", low: "total_lo_s", high: "total_hi_s", log: true},
      density: {field: "density", name: "density", log: false},
    },
    y: {
      error: {name: "relative L2 error", log: true, figure: "rel_l2", of: row => row.rel_l2, at: error => error},
      missed: {name: "1 \u2212 recall", log: true, figure: "recall_mean", at: recall => 1 - recall,
        of: row => page.isNumber(row.recall_mean) ? 1 - row.recall_mean : null},
      recall: {name: "recall", log: false, up: true, figure: "recall_mean", at: recall => recall,
        of: row => row.recall_mean},
    },
  };
  page.SMALLEST = 1e-4; // on a log axis; what is below, as of exact attention, stands at the lower edge
  page.PLOT_HEIGHT = 360;
  const ROOM = 0.06; // beside the marks, as a share of the axis
  const MANY = 150; // marks, from which on intervals would cover each other

  function domain(values, log) {
    const used = values.filter(value => page.isNumber(value) && (!log || value > 0));
    if (!used.length) return log ? [0.1, 1] : [0, 1];
    const low = Math.min(...used), high = Math.max(...used), room = ROOM * (high - low || 1);
    if (!log) return [low - room, high + room];
    const factor = (high / low) ** ROOM * 1.02;
    return [low / factor, high * factor];
  }

  // 1, 2, 5 of each decade, fewer where there are many decades and more within one.
  function ticks([low, high]) {
    const decades = Math.log10(high / low), values = [];
    const steps = decades > 4 ? [1] : decades > 1.2 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); ++power)
      values.push(...steps.map(step => Number((step * 10 ** power).toPrecision(3))));
    return values.filter(value => value >= low && value <= high);
  }

  // Where values stand that are too small for a log axis: below all others and the target.
  function edgeOf(values, goal) {
    const rest = values.filter(value => value >= page.SMALLEST).concat(goal ?? []);
    return rest.length ? Math.max(page.SMALLEST / 2, Math.min(...rest) / 2) : page.SMALLEST;
  }

  // The points that both axes can hold, as {point, i, x, y, low, high, isLow}.
  page.placed = (points, x, y, goal) => {
    const edge = y.log ? edgeOf(points.map(y.of), goal) : -Infinity;
    return points
      .map((point, i) => ({point, i, x: point[x.field], y: y.of(point), low: point[x.low], high: point[x.high]}))
      .filter(row => page.isNumber(row.x) && page.isNumber(row.y) && (!x.log || row.x > 0))
      .map(row => ({...row, isLow: y.log && row.y < page.SMALLEST,
        y: y.log && row.y < page.SMALLEST ? edge : row.y}));
  };

  // Those of the rivals that none beats in both, of one problem or of means.
  function front(rows, x, y) {
    if (page.distinct(rows.map(row => row.point.of > 1 || row.point.placeKey)).length > 1) return [];
    const better = x.field === "speedup" ? -1 : 1;
    const rivals = rows.filter(row => row.point.kind === "rival").sort((a, b) => better * (a.x - b.x) || a.y - b.y);
    const kept = [];
    for (const row of rivals)
      if (!kept.length || (y.up ? row.y > kept.at(-1).y : row.y < kept.at(-1).y)) kept.push(row);
    return kept.map((row, at) => ({x: row.x, y: row.y, at}));
  }

  const quantity = field => ({field, type: "quantitative"});

  function rule(channel, value, label) {
    const at = {[channel]: {datum: value}}, color = page.color("--muted");
    const [mark, edge] = channel === "y" ? [{align: "right", dy: -6}, {x: {value: "width"}}]
      : [{align: "left", dx: 4, dy: 8}, {y: {value: 0}}];
    return [
      {data: {values: [{}]}, mark: {type: "rule", strokeDash: [5, 3], color, clip: true}, encoding: at},
      {data: {values: [{}]}, mark: {type: "text", text: label, fontSize: 11, color, clip: true, ...mark},
        encoding: {...at, ...edge}},
    ];
  }

  // On a touch screen a drag over a plot has to scroll the page.
  page.canZoom = () => window.matchMedia("(hover: hover) and (pointer: fine)").matches;

  const zoom = () => page.canZoom() && {params: [{name: "zoom", bind: "scales",
    select: {type: "interval", zoom: "wheel![event.shiftKey]"}}]};

  // Marks of one kind over each other: front, lines along the knob, intervals, points.
  function layers(frontLine, few, color, shape) {
    const x = quantity("x"), y = quantity("y"), inDoubt = "datum.doubt";
    return [
      frontLine.length > 1 && {data: {values: frontLine}, encoding: {x, y, order: quantity("at")},
        mark: {type: "line", interpolate: "step-after", clip: true, strokeWidth: 4, opacity: 0.4,
          color: page.color("--front")}},
      {mark: {type: "line", clip: true, strokeWidth: 1.2, opacity: few ? 0.7 : 0.3},
        encoding: {x, y, color, detail: {field: "line"}, order: quantity("knob")}},
      few && {mark: {type: "rule", clip: true, opacity: 0.55}, transform: [{filter: "isValid(datum.low)"}],
        encoding: {x: quantity("low"), x2: {field: "high"}, y, color}},
      {name: "points", ...zoom(), mark: {type: "point", clip: true, strokeWidth: 1.3, size: few ? 70 : 36},
        encoding: {x, y, color, shape, fill: color, tooltip: quantity("i"),
          fillOpacity: {condition: {test: inDoubt, value: 0}, value: 0.9},
          strokeOpacity: {condition: {test: inDoubt, value: 0.6}, value: 1}}},
    ].filter(Boolean);
  }

  const axis = (on, range) => ({title: on.name + (on.unit || "") + (on.log ? " (log)" : ""),
    scale: {type: on.log ? "log" : "linear", domain: range, nice: false, ...(on.log ? {} : {zero: false})},
    axis: on.log ? {values: ticks(range), labelExpr: "format(datum.value, '~g')"} : {format: "~g", tickCount: 6}});

  // rows: of page.placed; goal: the target as a value of y, or null.
  page.paretoSpec = (rows, x, y, goal, styles, isExport) => {
    const values = rows.map(row => ({i: row.i, x: row.x, y: row.y, method: row.point.method, line: row.point.group,
      knob: row.point.knobValue ?? row.x, doubt: row.point.doubt, low: row.low, high: row.high}));
    const few = values.length <= MANY, isSpeedup = x.field === "speedup";
    const ends = values.flatMap(row => few ? [row.x, row.low, row.high] : [row.x]);
    const xs = domain(ends.concat(isSpeedup ? 1 : []), x.log);
    const ys = domain(values.map(row => row.y).concat(goal ?? []), y.log);
    const methods = page.distinct(values.map(row => row.method));
    const channel = name => ({field: "method", type: "nominal", legend: isExport ? {title: null} : null,
      scale: {domain: methods, range: methods.map(method => styles[method][name])}});
    const marks = layers(front(rows, x, y), few, channel("color"), channel("shape"));
    Object.assign(marks[0].encoding, {x: {...quantity("x"), ...axis(x, xs)}, y: {...quantity("y"), ...axis(y, ys)}});
    marks[0].encoding.y.axis.minExtent = 38; // so that plots under each other begin at one place
    return {
      width: isExport ? 560 : "container", height: page.PLOT_HEIGHT, autosize: {type: "fit", contains: "padding"},
      data: {values}, layer: [...marks, ...(goal === null ? [] : rule("y", goal, `target ${text.short(goal)}`)),
        ...(isSpeedup ? rule("x", 1, "dense") : [])],
    };
  };
})(window.salebench ??= {});
