"use strict";
// The methods of flowguide that the page shows. `problem` has the mixture, the critic and the
// bounds of an action; `steps` is how many Euler steps there are from noise to action.
{
  const { add, squared, velocity, linearised } = globalThis.flow;

  // Minus the squared distance to `best`; with `falsePeak`, a bump where there are no data.
  function criticOf(best, falsePeak = null) {
    const bump = (a) =>
      falsePeak === null
        ? 0
        : falsePeak.height *
          Math.exp(-squared(add(a, falsePeak.at, -1)) / (2 * falsePeak.width ** 2));
    return {
      value: (a) => bump(a) - squared(add(a, best, -1)),
      gradient: (a) => {
        const pull = falsePeak === null ? 0 : bump(a) / falsePeak.width ** 2;
        return a.map((x, i) => -2 * (x - best[i]) - (pull ? pull * (x - falsePeak.at[i]) : 0));
      },
    };
  }

  const clip = (a, bound) => a.map((x) => Math.min(Math.max(x, -bound), bound));

  // Where the unguided flow ends from (t, a) on the remaining steps, and its derivative in a.
  function rollout({ mixture, steps }, t, a) {
    let slopes = a.map((_, i) => a.map((_, j) => (i === j ? 1 : 0)));
    while (t < 1 - 1e-9) {
      const step = Math.min(1 / steps, 1 - t);
      const { v, jacobian } = linearised(mixture, t, a);
      slopes = slopes.map((row, i) =>
        row.map((x, j) => x + step * jacobian[i].reduce((sum, y, k) => sum + y * slopes[k][j], 0)),
      );
      a = add(a, v, step);
      t += step;
    }
    return { end: a, slopes };
  }

  // What each method adds to the velocity v at (t, a), for a weight of 1.
  const terms = {
    unguided: (problem, t, a) => a.map(() => 0),
    // The critic is asked about the noisy action itself.
    ood: ({ critic }, t, a) => critic.gradient(a),
    // About the action that one Euler step would give; its derivative is left out.
    qgf: ({ critic, bound }, t, a, v) => critic.gradient(clip(add(a, v, 1 - t), bound)),
    // About the action that the flow would reach, and back through all of its steps.
    bptt: (problem, t, a) => {
      const { end, slopes } = rollout(problem, t, a);
      const gradient = problem.critic
        .gradient(clip(end, problem.bound))
        .map((g, i) => (Math.abs(end[i]) > problem.bound ? 0 : g));
      return a.map((_, j) => gradient.reduce((sum, g, i) => sum + g * slopes[i][j], 0));
    },
  };

  function guidedVelocity(problem, method, t, a) {
    const v = velocity(problem.mixture, t, a);
    if (method === "unguided" || problem.weight === 0) return v;
    return add(v, terms[method](problem, t, a, v), problem.weight);
  }

  // All points of the way from noise to action, and the action, clipped to the bounds.
  function sample(problem, method, noise) {
    const path = [noise];
    for (let k = 0; k < problem.steps; k++) {
      const a = path[k];
      path.push(add(a, guidedVelocity(problem, method, k / problem.steps, a), 1 / problem.steps));
    }
    return { path, action: clip(path[problem.steps], problem.bound) };
  }

  // Of one unguided action for each noise, the one that the critic values most.
  function bestOf(problem, noises) {
    const candidates = noises.map((noise) => sample(problem, "unguided", noise));
    const values = candidates.map(({ action }) => problem.critic.value(action));
    return candidates[values.indexOf(Math.max(...values))];
  }

  globalThis.methods = { criticOf, guidedVelocity, sample, bestOf };
}
