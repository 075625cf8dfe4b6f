// Numbers as the reports of the program print them.
(page => {
  "use strict";

  const NONE = "\u2013";

  const fixed = (value, digits) => page.isNumber(value) ? value.toFixed(digits) : NONE;

  // Three digits that count; small ones as 9.1e-7.
  const short = value => !page.isNumber(value) ? NONE
    : value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(3)));

  const percent = value => page.isNumber(value) ? `${Math.round(100 * value)} %` : NONE;

  function seconds(value) {
    if (!page.isNumber(value)) return NONE;
    const [scale, unit] = value >= 1 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "\u00b5s"];
    return `${Number((value * scale).toPrecision(3))} ${unit}`;
  }

  const interval = (low, high, text) =>
    page.isNumber(low) && page.isNumber(high) ? `${text(low)}..${text(high)}` : NONE;

  const plural = (count, one, many = one + "s") => `${count} ${count === 1 ? one : many}`;

  const layer = value => value < 0 ? "unknown" : String(value);

  // 2026-12-01T02:10:00Z as 2026-12-01 02:10 UTC.
  const moment = text => (text || "").replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*Z$/, "$1 $2 UTC");

  const setting = row => row.settings ? `${row.method} ${row.settings}` : row.method;

  Object.assign(page, {text: {NONE, fixed, short, percent, seconds, interval, plural, layer, moment, setting}});
})(window.salebench ??= {});
