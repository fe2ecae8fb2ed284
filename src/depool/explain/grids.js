"use strict";
/* Maps as grids of coloured numbers. A grid is one stop of the Tab key; inside it the arrow keys move. */

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Blue for positive, orange for negative, paler the smaller; the sign is in the number too. */
function colour(cell, value, largest) {
  const share = largest > 0 ? Math.min(Math.abs(value) / largest, 1) : 0;
  cell.style.setProperty("--share", `${value === 0 ? 0 : Math.round(10 + 30 * Math.sqrt(share))}%`);
  cell.classList.toggle("positive", value > 0);
  cell.classList.toggle("negative", value < 0);
}

function largestOf(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** One map of a tensor.
 *
 * label: for screen readers. point(row, column): told of the cell that is hovered or focused.
 */
function mapGrid(x, map, label, point = null) {
  const cells = [];
  const values = x.data.subarray(at(x, map, 0, 0), at(x, map, 0, 0) + x.rows * x.columns);
  const largest = largestOf(values);
  const grid = element("div", { role: "grid", "aria-label": label, class: "grid", style: `--columns: ${x.columns}` });
  for (let row = 0; row < x.rows; row++) {
    const line = element("div", { role: "row", class: "line" });
    for (let column = 0; column < x.columns; column++) {
      const value = values[row * x.columns + column];
      const cell = element("div", { role: "gridcell", class: "cell", title: exactly(value) }, short(value));
      cell.tabIndex = point && row === 0 && column === 0 ? 0 : -1;
      colour(cell, value, largest);
      if (point) {
        cell.addEventListener("pointerenter", () => point(row, column));
        cell.addEventListener("focus", () => point(row, column));
      }
      line.append(cell);
      cells.push(cell);
    }
    grid.append(line);
  }
  grid.cells = cells;
  grid.addEventListener("keydown", (event) => moveFocus(event, cells, x.columns));
  return grid;
}

/** Arrow keys, Home and End inside a grid. */
function moveFocus(event, cells, columns) {
  const from = cells.indexOf(document.activeElement);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -from, End: cells.length - 1 - from };
  if (from < 0 || !(event.key in steps)) return;
  const next = cells[from + steps[event.key]];
  event.preventDefault();
  event.stopPropagation();
  if (!next) return;
  if (cells[from].tabIndex === 0) [cells[from].tabIndex, next.tabIndex] = [-1, 0];
  next.focus();
}

/** The input: numbers to type, or to draw with the pointer.
 *
 * change(index, value): told of each new number. brush(): the number to draw with, or null where nothing is drawn.
 */
function inputGrid(rows, columns, isMarked, change, brush) {
  const fields = [];
  const grid = element("div", { class: "grid input", role: "group", "aria-label": "input", style: `--columns: ${columns}` });
  for (let row = 0; row < rows; row++) {
    const line = element("div", { class: "line" });
    for (let column = 0; column < columns; column++) {
      const index = row * columns + column;
      const name = `row ${row + 1}, column ${column + 1}${isMarked(row, column) ? ", multiplied by the slider" : ""}`;
      const field = element("input", { type: "text", inputmode: "text", "aria-label": name, class: "cell", autocomplete: "off", spellcheck: "false" });
      if (isMarked(row, column)) field.classList.add("marked");
      field.addEventListener("input", () => {
        const value = fround(Number(field.value.replaceAll("−", "-")));
        const usable = field.value.trim() !== "" && Math.abs(value) <= LARGEST;
        field.setAttribute("aria-invalid", String(!usable));
        if (usable) change(index, value);
      });
      field.addEventListener("focus", () => {
        field.value = exactly(Number(field.dataset.value));
        field.select();
      });
      line.append(field);
      fields.push(field);
    }
    grid.append(line);
  }
  const paint = (event) => {
    const value = brush();
    const field = document.elementFromPoint(event.clientX, event.clientY);
    const index = fields.indexOf(field);
    if (value === null || index < 0 || event.buttons !== 1) return;
    event.preventDefault();
    change(index, value);
  };
  grid.addEventListener("pointerdown", paint);
  grid.addEventListener("pointermove", paint);
  grid.fields = fields;
  return grid;
}

/** Write the numbers into the fields: short, and as they are where somebody types. */
function fillInput(grid, values) {
  const largest = largestOf(values);
  grid.fields.forEach((field, index) => {
    field.dataset.value = field.title = exactly(values[index]);
    if (field !== document.activeElement) field.value = short(values[index]);
    else if (fround(Number(field.value.replaceAll("−", "-"))) !== values[index]) field.value = exactly(values[index]);
    field.removeAttribute("aria-invalid");
    colour(field, values[index], largest);
  });
}

/** One kernel as a picture with numbers. */
function kernelGrid(taps, height, width, label) {
  const weights = new Float32Array(height * width);
  for (const [, , ky, kx, weight] of taps) weights[ky * width + kx] = weight;
  const picture = mapGrid(tensor(1, height, width, weights), 0, label);
  picture.classList.add("kernel");
  return picture;
}
