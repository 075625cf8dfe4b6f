// The data of the page as rows, and what follows from them alone.
(page => {
  "use strict";

  const TIMES = ["select_s", "index_s", "attend_s", "total_s", "total_lo_s", "total_hi_s", "dense_s", "speedup",
    "speedup_lo", "speedup_hi", "noise"];

  const isNumber = value => typeof value === "number" && Number.isFinite(value);

  function median(values) {
    const sorted = values.filter(isNumber).sort((a, b) => a - b), half = sorted.length >> 1;
    if (!sorted.length) return null;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  function mean(values) {
    const numbers = values.filter(isNumber);
    return numbers.length ? numbers.reduce((sum, value) => sum + value, 0) / numbers.length : null;
  }

  function geometricMean(values) {
    const logs = mean(values.filter(value => value > 0).map(Math.log));
    return logs === null ? null : Math.exp(logs);
  }

  function groupBy(rows, keyOf) {
    const groups = new Map();
    for (const row of rows) {
      const key = keyOf(row);
      if (groups.has(key)) groups.get(key).push(row);
      else groups.set(key, [row]);
    }
    return groups;
  }

  const distinct = values => [...new Set(values)];

  // A text column holds each text once: {of: [texts], at: [which one, by row]}.
  function rowsOf(columns) {
    const rows = Array.from({length: columns.rows || 0}, () => ({}));
    for (const [name, column] of Object.entries(columns)) {
      if (name === "rows") continue;
      if (Array.isArray(column)) rows.forEach((row, i) => { row[name] = column[i] ?? null; });
      else rows.forEach((row, i) => { row[name] = column.of[column.at[i]] ?? ""; });
    }
    return rows;
  }

  function headsOf(heads) {
    const ofCell = new Map();
    let start = 0;
    (heads.cell || []).forEach((cell, i) => {
      const end = start + heads.heads[i];
      const figures = {};
      for (const name of ["density", "recall_mean", "rel_l2"]) figures[name] = (heads[name] || []).slice(start, end);
      ofCell.set(cell, figures);
      start = end;
    });
    return ofCell;
  }

  // Rounds of one cell become one setting with the medians of their usable times, as in `salebench report`: it has
  // converged if all have, and was busy if any was.
  function settingOf(rounds) {
    const usable = rounds.filter(row => row.timing_usable);
    const setting = {...rounds[0], rounds: usable.length, timed: usable.length > 0};
    for (const name of TIMES) setting[name] = median(usable.map(row => row[name]));
    setting.busy = usable.some(row => row.busy);
    setting.converged = usable.every(row => row.converged);
    setting.doubt = setting.timed && (setting.busy || !setting.converged);
    return setting;
  }

  // What tells the lines of a method apart: its settings without the knob, along which a line runs.
  function addKnob(row) {
    const words = row.settings.split(" ");
    const own = row.knob ? words.findIndex(word => word.startsWith(row.knob + "=")) : -1;
    row.knobValue = own < 0 ? null : Number.parseFloat(words[own].slice(row.knob.length + 1));
    row.line = [row.method, row.backend, row.selected_on, ...words.filter((_, i) => i !== own)].join("\n");
  }

  function kindOf(row) {
    if (row.role === "oracle") return "oracle";
    return row.selected_on && row.selected_on !== row.backend ? "attention only" : "rival";
  }

  page.read = data => {
    const rows = rowsOf(data.cells || {rows: 0});
    for (const row of rows) {
      row.placeKey = [row.place, row.dataset, row.problem, row.length, row.backend].join("\n");
      row.kind = kindOf(row);
      addKnob(row);
    }
    const ok = rows.filter(row => row.status === "ok");
    const sameCell = row => [row.placeKey, row.method, row.settings, row.selected_on].join("\n");
    const settings = [...groupBy(ok, sameCell).values()].map(settingOf);
    const baselines = new Set(rows.filter(row => row.role === "baseline").map(row => row.method));
    const ranks = (data.ranks || []).map(rank => ({...rank,
      rows: rank.rows.map(row => ({...row, is_baseline: row.is_baseline || baselines.has(row.method)}))}));
    return {
      data, rows, settings, ranks,
      failures: rows.filter(row => row.status !== "ok"),
      heads: headsOf(data.heads || {}),
      methods: distinct(rows.map(row => row.method).concat(ranks.flatMap(rank => rank.rows.map(row => row.method)))),
      datasets: distinct(rows.map(row => row.dataset)),
      layers: distinct(rows.map(row => row.layer)).sort((a, b) => a - b),
      lengths: distinct(rows.map(row => row.length)).sort((a, b) => a - b),
      problems: distinct(rows.map(row => row.placeKey)).length,
    };
  };

  // The rankings by target, each once: {text, metric, value, run, length}, the last two the rankings' rows.
  page.targets = model => {
    const groups = groupBy(model.ranks, rank => [rank.metric, rank.value, rank.text].join("\n"));
    return [...groups].map(([key, ranks]) => ({
      key, text: ranks[0].text, metric: ranks[0].metric, value: ranks[0].value, slack: ranks[0].slack || 0,
      figure: ranks[0].metric === "recall" ? "recall_mean" : ranks[0].each_head ? "rel_l2_worst" : "rel_l2",
      chosen: ranks.some(rank => rank.chosen),
      run: ranks.find(rank => rank.by === "run")?.rows || [],
      length: ranks.find(rank => rank.by === "length")?.rows || [],
    }));
  };

  page.target = (model, state) => {
    const targets = page.targets(model);
    return targets.find(target => target.key === state.target) || targets.find(target => target.chosen) || targets[0];
  };

  page.meets = (target, row) => isNumber(row[target.figure])
    && (target.metric === "recall"
      ? 1 - row[target.figure] <= (1 - target.value) * (1 + target.slack)
      : row[target.figure] <= target.value * (1 + target.slack));

  Object.assign(page, {isNumber, median, mean, geometricMean, groupBy, distinct});
})(window.salebench ??= {});
