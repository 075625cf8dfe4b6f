// Elements, made of texts alone: nothing that a capture or config says is ever read as HTML.
(page => {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    return node;
  }

  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // Builds the node's content anew if what it shows has changed, so that a reader keeps focus and selection otherwise.
  function fresh(node, signature, build) {
    const text = JSON.stringify([signature, page.isDark()]);
    if (node.shown === text) return;
    const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
    node.shown = text;
    node.replaceChildren(...[build()].flat(Infinity).filter(Boolean));
    if (focused) document.getElementById(focused)?.focus();
  }

  // A labelled select. options: [value, text] pairs, or {group, options}.
  function select(id, label, options, value, onChange) {
    const option = ([key, text]) => el("option", {value: key, selected: String(key) === String(value)}, text);
    const children = options.map(item => item.group
      ? el("optgroup", {label: item.group}, item.options.map(option)) : option(item));
    const box = el("select", {id, onchange: event => onChange(event.target.value)}, children);
    return el("label", {class: "field", for: id}, el("span", {}, label), box);
  }

  function checkbox(id, label, checked, onChange, ...before) {
    return el("label", {class: "check", for: id},
      el("input", {type: "checkbox", id, checked, onchange: event => onChange(event.target.checked)}), before,
      el("span", {}, label));
  }

  // Radio buttons side by side, of which the arrow keys choose.
  function choice(name, label, options, value, onChange) {
    return el("fieldset", {class: "choice"}, el("legend", {}, label), options.map(([key, text]) => el("label", {},
      el("input", {type: "radio", name, id: `${name}-${key}`, value: key, checked: key === value,
        onchange: () => onChange(key)}),
      el("span", {}, text))));
  }

  // columns: {name, text(row), class, cell(row)}; on a narrow screen each row is a card, whose entries say their name.
  function table(columns, rows, attributes = {}) {
    const head = columns.map(column => el("th", {scope: "col", class: column.class, title: column.title}, column.name));
    return el("table", {class: "cards", ...attributes}, el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, rows.map(row => tableRow(columns, row))));
  }

  function tableCell(column, row) {
    const shown = column.cell ? column.cell(row) : column.text(row);
    const none = shown === page.text.NONE || shown === "" ? " none" : "";
    return el(column.header ? "th" : "td", {class: (column.class || "") + none, scope: column.header ? "row" : null,
      "data-name": column.name}, shown);
  }

  const tableRow = (columns, row, attributes = {}) =>
    el("tr", attributes, columns.map(column => tableCell(column, row)));

  async function copy(button, code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      // Without the clipboard, as on plain http: selected, so that a key copies it.
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }

  function command(text) {
    const code = el("code", {tabindex: 0}, text);
    return el("span", {class: "command"}, code,
      el("button", {type: "button", "aria-label": "copy the command",
        onclick: event => copy(event.currentTarget, code)}, "copy"));
  }

  const heading = (section, text, ...more) =>
    el("div", {class: "heading"}, el("h2", {id: `${section}-title`}, text), more);

  Object.assign(page, {el, svg, fresh, select, checkbox, choice, table, tableRow, command, heading});
})(window.salebench ??= {});
