"use strict";
/* Conv, Relu, Add and Concat in float32.
 *
 * A tensor is {maps, rows, columns, data}, data a Float32Array in the order [map][row][column]. Every product and every
 * sum is rounded by Math.fround, and a kernel's taps are summed in the order in which they are listed: the results are
 * bit for bit those of depool's own evaluator (program.py). A tap that falls on the padding adds 0, which changes nothing.
 */
const fround = Math.fround;

function tensor(maps, rows, columns, data = new Float32Array(maps * rows * columns)) {
  return { maps, rows, columns, data };
}

function at(x, map, row, column) {
  return (map * x.rows + row) * x.columns + column;
}

/** How often a window fits along one axis. */
function fits(size, kernel, stride, dilation, [begin, end]) {
  return Math.floor((size + begin + end - (kernel - 1) * dilation - 1) / stride) + 1;
}

function conv(node, x) {
  const [out, , height, width] = node.shape;
  const [[top], [left]] = node.pads;
  const y = tensor(
    out,
    fits(x.rows, height, node.strides[0], node.dilations[0], node.pads[0]),
    fits(x.columns, width, node.strides[1], node.dilations[1], node.pads[1]),
  );
  for (const [o, i, ky, kx, weight] of node.taps) {
    const w = fround(weight);
    for (let row = 0; row < y.rows; row++) {
      const r = row * node.strides[0] + ky * node.dilations[0] - top;
      if (r < 0 || r >= x.rows) continue;
      for (let column = 0; column < y.columns; column++) {
        const c = column * node.strides[1] + kx * node.dilations[1] - left;
        if (c < 0 || c >= x.columns) continue;
        const here = at(y, o, row, column);
        y.data[here] = fround(y.data[here] + fround(w * x.data[at(x, i, r, c)]));
      }
    }
  }
  if (node.bias) {
    const each = y.rows * y.columns;
    for (let n = 0; n < y.data.length; n++) y.data[n] = fround(y.data[n] + fround(node.bias[Math.floor(n / each)]));
  }
  return y;
}

function relu(x) {
  return tensor(x.maps, x.rows, x.columns, x.data.map((value) => Math.max(value, 0)));
}

function add(a, b) {
  return tensor(a.maps, a.rows, a.columns, a.data.map((value, n) => fround(value + b.data[n])));
}

/** Axis 0 joins maps, 1 rows, 2 columns. */
function concat(axis, parts) {
  const total = (key) => parts.reduce((sum, part) => sum + part[key], 0);
  const [{ maps, rows, columns }] = parts;
  const y = tensor(axis === 0 ? total("maps") : maps, axis === 1 ? total("rows") : rows, axis === 2 ? total("columns") : columns);
  const start = [0, 0, 0];
  for (const part of parts) {
    for (let m = 0; m < part.maps; m++)
      for (let r = 0; r < part.rows; r++)
        for (let c = 0; c < part.columns; c++)
          y.data[at(y, start[0] + m, start[1] + r, start[2] + c)] = part.data[at(part, m, r, c)];
    start[axis] += [part.maps, part.rows, part.columns][axis];
  }
  return y;
}

/** Every tensor of a program, the input first. */
function run(nodes, x) {
  const values = [x];
  for (const node of nodes) {
    const read = node.reads.map((ref) => values[ref]);
    if (node.op === "Conv") values.push(conv(node, read[0]));
    else if (node.op === "Relu") values.push(relu(read[0]));
    else if (node.op === "Add") values.push(add(...read));
    else if (node.op === "Concat") values.push(concat(node.axis, read));
    else throw new Error(`no such operator: ${node.op}`);
  }
  return values;
}

/** The elements that a window looks at: [row, column] each; padding is left out. */
function windowCells(pool, x, row, column) {
  const cells = [];
  for (let i = 0; i < pool.kernel_shape[0]; i++)
    for (let j = 0; j < pool.kernel_shape[1]; j++) {
      const r = row * pool.strides[0] + i - pool.pads[0][0];
      const c = column * pool.strides[1] + j - pool.pads[1][0];
      if (r >= 0 && r < x.rows && c >= 0 && c < x.columns) cells.push([r, c]);
    }
  return cells;
}

/** The pool itself, without any convolution: the largest element of each window. */
function nativePool(pool, x) {
  const [[height, width], [down, across]] = [pool.kernel_shape, pool.strides];
  const y = tensor(1, fits(x.rows, height, down, 1, pool.pads[0]), fits(x.columns, width, across, 1, pool.pads[1]));
  for (let row = 0; row < y.rows; row++)
    for (let column = 0; column < y.columns; column++)
      y.data[at(y, 0, row, column)] = Math.max(...windowCells(pool, x, row, column).map(([r, c]) => x.data[at(x, 0, r, c)]));
  return y;
}
