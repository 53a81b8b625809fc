// Expressions: the text that a row prints of itself, `0.5 / (a * sqrt(a))`, as a function of numbers.
//
// The page computes with nothing but these, so it cannot disagree with the library about what an op is. A function that
// it does not know makes the row one that the page cannot recompute; it says so and names the row.

const FUNCTIONS = {
  abs: Math.abs, floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc, sqrt: Math.sqrt, exp: Math.exp,
  expm1: Math.expm1, log: Math.log, log1p: Math.log1p, sin: Math.sin, cos: Math.cos, tan: Math.tan, atan: Math.atan,
  sinh: Math.sinh, cosh: Math.cosh, tanh: Math.tanh, pow: Math.pow,
  // To the nearest integer, halves to the even one.
  round(x) {
    const down = Math.floor(x);
    const rest = x - down;
    if (rest !== 0.5) return Math.round(x);
    return down % 2 === 0 ? down : down + 1;
  },
  // By its series, and from 3 on by the continued fraction of its complement.
  erf(x) {
    if (Number.isNaN(x)) return x;
    const z = Math.abs(x);
    if (z > 6) return Math.sign(x);
    if (z < 3) {
      let term = z;
      let sum = z;
      for (let n = 1; n < 200 && Math.abs(term) > 1e-18 * sum; ++n) {
        term *= -z * z / n;
        sum += term / (2 * n + 1);
      }
      return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
    }
    let fraction = 0;
    for (let n = 60; n > 0; --n) fraction = n / 2 / (z + fraction);
    return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
  },
};

const BINARY = [
  [["||", (a, b) => +(a !== 0 || b !== 0)]],
  [["&&", (a, b) => +(a !== 0 && b !== 0)]],
  [["<=", (a, b) => +(a <= b)], [">=", (a, b) => +(a >= b)], ["==", (a, b) => +(a === b)],
    ["!=", (a, b) => +(a !== b)], ["<", (a, b) => +(a < b)], [">", (a, b) => +(a > b)]],
  [["+", (a, b) => a + b], ["-", (a, b) => a - b]],
  [["*", (a, b) => a * b], ["/", (a, b) => a / b]],
];

/// The function of an array of arguments that `text` describes, whose parameters are called `names`. Throws an Error
/// that says what it does not understand.
function compile(text, names) {
  const tokens = text.match(/\d+\.?\d*(?:e[+-]?\d+)?|[A-Za-z_]\w*|\|\||&&|[<>=!]=|[-+*/<>(),!]|\S/g) || [];
  let at = 0;
  const take = (token) => tokens[at] === token && ++at > 0;
  const expect = (token) => {
    if (!take(token)) throw new Error(`expected ${token} in ${text}`);
  };
  function binary(level) {
    if (level === BINARY.length) return unary();
    let left = binary(level + 1);
    for (;;) {
      const found = BINARY[level].find(([sign]) => sign === tokens[at]);
      if (!found) return left;
      ++at;
      const [a, b, f] = [left, binary(level + 1), found[1]];
      left = (x) => f(a(x), b(x));
    }
  }
  function unary() {
    if (take("-")) {
      const a = unary();
      return (x) => -a(x);
    }
    if (take("!")) {
      const a = unary();
      return (x) => +(a(x) === 0);
    }
    return atom();
  }
  function atom() {
    const token = tokens[at++];
    if (token === "(") {
      const inner = binary(0);
      expect(")");
      return inner;
    }
    if (/^\d/.test(token || "")) {
      const value = Number(token);
      return () => value;
    }
    if (token === "inf") return () => Infinity;
    if (token === "nan") return () => NaN;
    if (take("(")) return call(token);
    const index = names.indexOf(token);
    if (index < 0) throw new Error(`${token} is not known in ${text}`);
    return (x) => x[index];
  }
  function call(name) {
    const operands = [];
    do operands.push(binary(0)); while (take(","));
    expect(")");
    if (name === "where" && operands.length === 3) {
      const [c, a, b] = operands;
      return (x) => (c(x) !== 0 ? a(x) : b(x));
    }
    const f = Object.hasOwn(FUNCTIONS, name) && FUNCTIONS[name];
    if (!f || f.length !== operands.length) throw new Error(`${name} is a function that this page does not have`);
    const [a, b] = operands;
    return b ? (x) => f(a(x), b(x)) : (x) => f(a(x));
  }
  const whole = binary(0);
  if (at !== tokens.length) throw new Error(`${tokens[at]} in ${text}`);
  return whole;
}
