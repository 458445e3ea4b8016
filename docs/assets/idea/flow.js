"use strict";
// The flow of a mixture of Gaussians in closed form, as flowguide.diagnose.MixtureVelocity has it:
// noise at t = 0, actions at t = 1. An action is an array of one number or of two.
{
  const add = (a, b, scale = 1) => a.map((x, i) => x + scale * b[i]);
  const squared = (a) => a.reduce((sum, x) => sum + x * x, 0);

  // The probability of each mode given its squared distance, for Gaussians of one variance.
  function responsibilities(distances, variance) {
    const nearest = Math.min(...distances);
    const weights = distances.map((d) => Math.exp((nearest - d) / (2 * variance)));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return weights.map((w) => w / total);
  }

  // At (t, a) mode k is Gaussian around t * mode; the velocity is linear in the mode's mean.
  function modesAt({ modes, std }, t, a) {
    const variance = (1 - t) ** 2 + (t * std) ** 2;
    const shares = responsibilities(
      modes.map((mode) => squared(add(a, mode, -t))),
      variance,
    );
    const mean = a.map((_, i) => modes.reduce((sum, mode, k) => sum + shares[k] * mode[i], 0));
    const slope = (t * std ** 2 - (1 - t)) / variance;
    return { variance, shares, mean, slope };
  }

  const velocityOf = (t, a, { variance, mean, slope }) =>
    a.map((x, i) => slope * x + ((1 - t) / variance) * mean[i]);

  const velocity = (mixture, t, a) => velocityOf(t, a, modesAt(mixture, t, a));

  // The velocity, and its derivative in the action: row i is that of entry i.
  function linearised({ modes, std }, t, a) {
    const at = modesAt({ modes, std }, t, a);
    const scale = ((1 - t) * t) / at.variance ** 2;
    const covariance = (i, j) =>
      modes.reduce(
        (sum, mode, k) => sum + at.shares[k] * (mode[i] - at.mean[i]) * (mode[j] - at.mean[j]),
        0,
      );
    const jacobian = a.map((_, i) =>
      a.map((_, j) => scale * covariance(i, j) + (i === j ? at.slope : 0)),
    );
    return { v: velocityOf(t, a, at), jacobian };
  }

  function logDensity({ modes, std }, a) {
    const distances = modes.map((mode) => squared(add(a, mode, -1)));
    const nearest = Math.min(...distances);
    const sum = distances.reduce((s, d) => s + Math.exp((nearest - d) / (2 * std ** 2)), 0);
    const peak = -Math.log(modes.length) - a.length * Math.log(std * Math.sqrt(2 * Math.PI));
    return peak - nearest / (2 * std ** 2) + Math.log(sum);
  }

  // The middle of each of `count` equally likely parts of a standard normal distribution.
  function quantiles(count) {
    const found = [];
    const step = 1e-3;
    for (let z = -6, below = 0; found.length < count && z < 6; z += step) {
      below += (step * Math.exp(-((z + step / 2) ** 2) / 2)) / Math.sqrt(2 * Math.PI);
      if (below * count >= found.length + 0.5) found.push(z + step);
    }
    return found;
  }

  // The same standard normal numbers at every visit (mulberry32, Box and Muller).
  function normals(count) {
    let state = 1;
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let x = Math.imul(state ^ (state >>> 15), 1 | state);
      x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
      return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
    };
    return Array.from({ length: count }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      return radius * Math.cos(2 * Math.PI * uniform());
    });
  }

  globalThis.flow = { add, squared, velocity, linearised, logDensity, quantiles, normals };
}
