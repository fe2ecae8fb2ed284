"use strict";
/* One step of a program: what it reads, its kernels, its formulas, and the maps that it gives. */

const TITLES = { Conv: "Convolution", Relu: "ReLU", Add: "Sum", Concat: "Concatenation" };

function plural(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function describe(node) {
  if (node.op === "Relu") return "r(x) = max(x, 0): what is negative becomes 0.";
  if (node.op === "Add") return "Two tensors are added, element by element.";
  if (node.op === "Concat")
    return node.axis === 0 ? "Maps are put behind each other; no number changes." : "The border is repeated, so that no window reads padding.";
  const [out, into, height, width] = node.shape;
  const words = [`${plural(out, "kernel")} of ${height}×${width}${into > 1 ? ` over ${into} maps` : ""}`];
  const [down, across] = node.strides;
  if (down > 1 || across > 1) words.push(`stride ${down === across ? down : `${down}×${across}`}`);
  if (Math.max(...node.dilations) > 1) words.push(`dilation ${node.dilations.join("×")}`);
  if (node.pads.flat().some(Boolean)) words.push(`pads ${node.pads.map((p) => p.join(",")).join(" ")}`);
  return `${words.join(", ")}.`;
}

/** What one output element is made of: [tensor's place among the reads, map, row, column, weight] each. */
function parts(node, read, map, row, column) {
  if (node.op === "Relu") return [[0, map, row, column, 1]];
  if (node.op === "Add") return [[0, map, row, column, 1], [1, map, row, column, 1]];
  if (node.op === "Conv")
    return node.taps
      .filter(([o]) => o === map)
      .map(([, i, ky, kx, weight]) => [
        0, i, row * node.strides[0] + ky * node.dilations[0] - node.pads[0][0],
        column * node.strides[1] + kx * node.dilations[1] - node.pads[1][0], weight,
      ])
      .filter(([, , r, c]) => r >= 0 && c >= 0 && r < read[0].rows && c < read[0].columns);
  const place = [map, row, column];
  for (const [n, part] of read.entries()) {
    const length = [part.maps, part.rows, part.columns][node.axis];
    if (place[node.axis] < length) return [[n, ...place, 1]];
    place[node.axis] -= length;
  }
  return [];
}

/** The arithmetic behind one element, in numbers. */
function worked(node, read, made, map, row, column) {
  const terms = parts(node, read, map, row, column).map(([n, m, r, c, weight]) => [weight, read[n].data[at(read[n], m, r, c)]]);
  const result = short(made.data[at(made, map, row, column)]);
  let text = "";
  for (const [weight, value] of terms) {
    const minus = weight < 0;
    const size = Math.abs(weight) === 1 ? "" : `${short(Math.abs(weight))}·`;
    const number = value < 0 ? `(${short(value)})` : short(value);
    text += (text ? (minus ? " − " : " + ") : minus ? "−" : "") + size + number;
  }
  if (node.bias && node.bias[map]) text += `${text ? " + " : ""}${short(node.bias[map])}`;
  return node.op === "Relu" ? `r(${text.replace(/^\((.*)\)$/, "$1")}) = ${result}` : `${text || "0"} = ${result}`;
}

/** Show a step in `place`; `shine(cells)` lights cells of the input where the step reads it. */
function showStep(place, nodes, index, values, shine) {
  const node = nodes[index];
  const read = node.reads.map((ref) => values[ref]);
  const made = values[index + 1];
  const named = (ref) => (ref === 0 ? [["x", "the input"]] : nodes[ref - 1].maps);
  const reads = node.reads.map((ref, n) => named(ref).map(([name], map) => ({ name, n, map, grid: mapGrid(read[n], map, `map ${name}`, () => {}) })));
  const cards = node.maps.map(([name, formula], map) => card(node, map, name, formula, named(node.reads[0]), made, point));
  const line = element("p", { class: "worked" });

  function point(map, row, column) {
    for (const cell of place.querySelectorAll(".window, .pointed")) cell.classList.remove("window", "pointed");
    const lit = parts(node, read, map, row, column);
    for (const [n, m, r, c] of lit) reads[n][m].grid.cells[r * read[n].columns + c].classList.add("window");
    cards[map].map.cells[row * made.columns + column].classList.add("pointed");
    line.textContent = `row ${row + 1}, column ${column + 1} of ${node.maps[map][0]}: ${worked(node, read, made, map, row, column)}`;
    shine(lit.filter(([n]) => node.reads[n] === 0).map(([, , r, c]) => [r, c]));
  }

  place.replaceChildren(
    element("p", { class: "soft" }, describe(node)),
    line,
    element("div", { class: "flow" },
      element("div", { class: "reads" }, element("h3", {}, "reads"),
        element("div", { class: "cards" }, ...reads.flat().map(({ name, grid }) => element("figure", {}, element("figcaption", {}, name), grid)))),
      element("div", { class: "gives" }, element("h3", {}, "gives"), element("div", { class: "cards" }, ...cards))),
  );
  point(0, 0, 0);
  return { maps: made.maps, rows: made.rows, columns: made.columns, point };
}

/** One output map: its formula, its kernels, its numbers. */
function card(node, map, name, formula, sources, made, point) {
  const numbers = mapGrid(made, map, `map ${name}`, (row, column) => point(map, row, column));
  const made_ = element("figure", { class: "card" }, element("figcaption", { class: "formula" }, formula));
  if (node.op === "Conv") {
    const [, into, height, width] = node.shape;
    const taps = node.taps.filter(([o]) => o === map);
    const kernels = element("div", { class: "kernels" });
    if (height * width === 1) {
      const row = taps.map(([, i, , , weight]) => [0, 0, 0, i, weight]);
      const label = `weights of ${sources.map(([name]) => name).join(", ")}`;
      kernels.append(kernelGrid(row, 1, into, label));
    } else
      for (let i = 0; i < into; i++)
        if (taps.some((tap) => tap[1] === i)) kernels.append(kernelGrid(taps.filter((tap) => tap[1] === i), height, width, `kernel over ${sources[i][0]}`));
    made_.append(kernels);
  }
  made_.append(numbers);
  made_.map = numbers;
  return made_;
}
