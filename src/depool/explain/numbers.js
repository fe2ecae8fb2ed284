"use strict";
/* Numbers on the page: how they are written, which are drawn, and which of them the slider multiplies. */
const LARGEST = 1e30; // of what may be typed: sums of some dozen such numbers are still finite

/** Short, with a real minus; the whole number is in the cell's title. */
function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e5) text = String(size);
  else if (size >= 1e5 || size < 1e-3) text = size.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  else text = String(Number(size.toPrecision(4)));
  return (value < 0 ? "−" : "") + text;
}

/** As exact as float32 is, for the fields and titles. */
function exactly(value) {
  for (let digits = 1; digits <= 9; digits++) {
    const text = Number(value.toPrecision(digits));
    if (Math.fround(text) === value) return String(text);
  }
  return String(value);
}

/** A small generator, so that the same presses give the same numbers: mulberry32. */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Whether the slider multiplies a cell: all but one of each window. */
function marked(pool, row, column) {
  const [height, width] = pool.kernel_shape.map((k, axis) => Math.max(k, pool.strides[axis]));
  return row % height !== 0 || column % width !== 0;
}

/** Mixed are multiples of 1/8, so that their sums are exact until the slider tears them apart:
 *  small positive ones, and negative ones where the slider multiplies. */
const PRESETS = {
  integers: (random) => Math.floor(random() * 19) - 9,
  random: (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  negative: (random) => -1 - Math.floor(random() * 9),
  mixed: (random, isMarked) => (isMarked ? -1 : 1) * (2 * Math.floor(random() * 8) + 1) / 8,
};

function drawn(preset, seed, pool, rows, columns) {
  const random = generator(seed);
  const values = new Float32Array(rows * columns);
  for (let n = 0; n < values.length; n++) values[n] = PRESETS[preset](random, marked(pool, Math.floor(n / columns), n % columns));
  return values;
}
