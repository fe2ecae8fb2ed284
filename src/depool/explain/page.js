"use strict";
/* State and controls. All programs were made by depool and stand in the page as JSON; nothing is fetched. */
const DATA = JSON.parse(document.getElementById("programs").textContent);
if (DATA.schema !== 1) throw new Error(`this page reads schema 1, not ${DATA.schema}`);
const [ROWS, COLUMNS] = DATA.size;
const AXES = ["scheme", "pairing", "form", "exact"];
const find = (id) => document.getElementById(id);
const state = {
  choice: { ...DATA.first },
  base: Float32Array.from(DATA.values), // what the slider multiplies
  power: 0,
  seed: 1,
  step: 0,
  timer: null,
};
const isMarked = (row, column) => marked(DATA.pool, row, column);
const grid = inputGrid(ROWS, COLUMNS, isMarked, change, () => (find("draw").checked ? Math.fround(Number(find("brush").value) || 0) : null));
find("input").append(grid);

/** The numbers as they stand: the base, times the slider where marked. */
function numbers() {
  const factor = 10 ** state.power;
  return state.base.map((value, n) => (isMarked(Math.floor(n / COLUMNS), n % COLUMNS) ? fround(value * factor) : value));
}

/** Numbers typed or drawn are taken as they are: the slider starts anew from what is there. */
function change(index, value) {
  state.base = numbers();
  state.base[index] = value;
  setPower(0);
  update();
}

function setPower(power) {
  state.power = power;
  find("magnitude").value = power;
  find("factor").textContent = `× ${power < 5 ? 10 ** power : `1e${power}`}`;
}

function program(choice = state.choice) {
  const pairings = DATA.programs.filter((p) => p.scheme === choice.scheme && p.form === choice.form && p.exact === choice.exact);
  return pairings.find((p) => p.pairing === choice.pairing) || pairings[0];
}

function nodesOf(chosen) {
  return DATA.networks[chosen.network];
}

/** One choice as radio buttons; what depool refuses is disabled, with its reason below. */
function drawChoices() {
  const refusals = new Map();
  for (const axis of AXES) {
    const place = find(axis);
    const options = [...new Set(DATA.programs.map((p) => p[axis]))];
    const named = (option) => (axis === "exact" ? (option ? "exact" : "plain") : option);
    const alone = axis === "pairing" && (options.length === 1 || state.choice.scheme !== "tree");
    place.hidden = alone;
    if (place.querySelectorAll("input").length === 0)
      for (const option of options)
        place.append(element("label", {}, element("input", { type: "radio", name: axis, value: named(option), onchange: () => choose(axis, option) }), element("span", {}, named(option))));
    place.querySelectorAll("input").forEach((radio, n) => {
      const refused = program({ ...state.choice, [axis]: options[n] }).refusal;
      radio.disabled = Boolean(refused) && !alone;
      radio.checked = state.choice[axis] === options[n];
      if (radio.disabled) refusals.set(named(options[n]), refused);
    });
  }
  find("refusals").replaceChildren(...[...refusals].map(([name, text]) => element("li", {}, element("strong", {}, name), ` is not available here. ${text}`)));
}

function choose(axis, option) {
  state.choice = { ...state.choice, [axis]: option };
  stop();
  state.step = 0;
  drawChoices();
  update();
}

/** Run everything, and show it. */
function update() {
  const x = tensor(1, ROWS, COLUMNS, numbers());
  const chosen = program();
  const values = run(nodesOf(chosen), x);
  const [ours, native] = [values[values.length - 1], nativePool(DATA.pool, x)];
  fillInput(grid, x.data);
  const pooled = (row, column) => shine(windowCells(DATA.pool, x, row, column));
  find("ours").replaceChildren(mapGrid(ours, 0, "maximum by convolutions", pooled));
  find("native").replaceChildren(mapGrid(native, 0, "native maximum", pooled));
  compare(ours, native, chosen, largestOf(x.data));
  find("promise").textContent = `Promised: ${chosen.promise}. ${plural(chosen.relu_layers, "ReLU layer")}, ${plural(chosen.relus_per_output, "ReLU")} per output.`;
  find("lemma").textContent = chosen.lemma;
  find("download").href = `data:application/octet-stream;base64,${chosen.onnx}`;
  find("download").download = ["maxpool", chosen.scheme, chosen.pairing.replace("|", "-"), chosen.form, chosen.exact ? "exact" : "plain"].join("-") + ".onnx";
  showCurrent(chosen, values);
}

function compare(ours, native, chosen, largest) {
  const apart = [...ours.data].map((value, n) => Math.abs(value - native.data[n]));
  const count = apart.filter((difference) => difference !== 0).length;
  const line = find("result");
  line.dataset.equal = String(count === 0);
  let text = `Equal: all ${plural(apart.length, "output")} are the native maximum, bit for bit.`;
  if (count > 0) {
    const first = apart.indexOf(Math.max(...apart));
    const where = `row ${Math.floor(first / ours.columns) + 1}, column ${(first % ours.columns) + 1}`;
    const bound = short(fround(chosen.bound * largest));
    text = `Differs by up to ${short(apart[first])} in ${count} of ${plural(apart.length, "output")}: at ${where} it is ${short(ours.data[first])}, not ${short(native.data[first])}. Up to ${bound} may be lost among numbers of this size.`;
  }
  if (find("said").textContent !== text) find("said").textContent = text;
  find("mark").textContent = count === 0 ? "✓" : "≠";
  apart.forEach((difference, n) => find("ours").firstChild.cells[n].classList.toggle("differs", difference !== 0));
}

/** Light the cells of the input that somebody points at. */
function shine(cells) {
  for (const field of grid.fields) field.classList.remove("window");
  for (const [row, column] of cells) grid.fields[row * COLUMNS + column].classList.add("window");
}

let shown = null;
function showCurrent(chosen = program(), values = run(nodesOf(chosen), tensor(1, ROWS, COLUMNS, numbers()))) {
  const last = nodesOf(chosen).length - 1;
  state.step = Math.min(state.step, last);
  find("title").textContent = `Step ${state.step + 1} of ${last + 1}: ${TITLES[nodesOf(chosen)[state.step].op]}`;
  find("previous").disabled = state.step === 0;
  find("next").disabled = state.step === last;
  find("position").max = last + 1;
  find("position").value = state.step + 1;
  find("position").setAttribute("aria-valuetext", find("title").textContent);
  shown = showStep(find("step"), nodesOf(chosen), state.step, values, shine);
}

function go(step) {
  state.step = Math.max(0, Math.min(step, nodesOf(program()).length - 1));
  showCurrent();
}

function stop() {
  clearInterval(state.timer);
  state.timer = null;
  find("play").textContent = "Play";
}

/** Slide the window over the step's output, then go on; without motion, step by step. */
function play() {
  if (state.timer !== null) return stop();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let cell = 0;
  find("play").textContent = "Stop";
  if (state.step === nodesOf(program()).length - 1) go(0);
  state.timer = setInterval(() => {
    cell += 1;
    if (still || cell >= shown.rows * shown.columns) {
      if (state.step === nodesOf(program()).length - 1) return stop();
      cell = 0;
      go(state.step + 1);
    } else shown.point(0, Math.floor(cell / shown.columns), cell % shown.columns);
  }, still ? 2000 : 320);
}

find("previous").addEventListener("click", () => { stop(); go(state.step - 1); });
find("next").addEventListener("click", () => { stop(); go(state.step + 1); });
find("play").addEventListener("click", play);
find("position").addEventListener("input", (event) => { stop(); go(Number(event.target.value) - 1); });
find("magnitude").addEventListener("input", (event) => { setPower(Number(event.target.value)); update(); });
grid.addEventListener("focusout", () => setTimeout(() => fillInput(grid, numbers()))); // once the focus has moved
find("draw").addEventListener("change", (event) => grid.classList.toggle("drawing", event.target.checked));
document.querySelectorAll("[data-preset]").forEach((button) => button.addEventListener("click", () => {
  state.seed += 1;
  state.base = drawn(button.dataset.preset, state.seed, DATA.pool, ROWS, COLUMNS);
  setPower(button.dataset.preset === "mixed" ? 8 : 0);
  update();
}));
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (move) { event.preventDefault(); stop(); go(state.step + move); }
});
drawChoices();
setPower(0);
update();
