"use strict";
// The page: two problems, five methods, and what the controls of the form ask for.
{
  const { logDensity, squared, add, quantiles, normals } = globalThis.flow;
  const { criticOf, sample, bestOf } = globalThis.methods;
  const { plane, line, atTime } = globalThis.draw;
  const METHODS = ["unguided", "ood", "qgf", "bptt", "best_of_n"];
  const MOST = 16; // Candidates of best_of_n.

  // `span`: what is drawn, from -span to span. `bound`: actions are clipped to it.
  const PROBLEMS = {
    1: {
      mixture: { modes: [[-2], [0], [1]], std: 0.15 },
      peaks: {
        beyond: { at: [2.2], width: 0.3, height: 4 },
        between: { at: [-1], width: 0.3, height: 4 },
      },
      span: 3.2,
      bound: 4,
      show: line,
      noises: noisesOf(quantiles(120).map((z) => [z])),
    },
    2: {
      mixture: { modes: [[-1.2, -0.6], [0.1, 1.2], [1.2, -0.5]], std: 0.13 },
      peaks: {
        beyond: { at: [0, -1.6], width: 0.4, height: 6 },
        between: { at: [0, 0.1], width: 0.3, height: 3 },
      },
      span: 2.4,
      bound: 3,
      show: plane,
      noises: noisesOf(new Array(150).fill(null)),
    },
  };

  // For each action the noises of its candidates. All methods but best_of_n use the first alone.
  function noisesOf(first) {
    const size = first[0]?.length ?? 2;
    const numbers = normals(first.length * MOST * size);
    return first.map((own, i) =>
      Array.from({ length: MOST }, (_, j) => {
        const start = (i * MOST + j) * size;
        return j === 0 && own ? own : numbers.slice(start, start + size);
      }),
    );
  }

  const form = document.getElementById("idea");
  const panels = Object.fromEntries(METHODS.map((method) => [method, panelOf(method)]));

  function panelOf(method) {
    const figure = document.createElement("figure");
    figure.dataset.method = method;
    figure.innerHTML =
      `<figcaption><code>${method}</code></figcaption><canvas role="img"></canvas><dl>` +
      ["critic", "truth", "density", "off"]
        .map((name) => `<div data-number="${name}"><dt></dt><dd></dd></div>`)
        .join("") +
      "</dl>";
    form.querySelector(".idea-panels").append(figure);
    return figure;
  }

  function settings() {
    const { dimensions, critic, ...numbers } = Object.fromEntries(new FormData(form));
    const parsed = Object.entries(numbers).map(([name, value]) => [name, Number(value)]);
    return { dimensions: Number(dimensions), critic, ...Object.fromEntries(parsed) };
  }

  function problemOf({ dimensions, critic, weight, steps, x, y }) {
    const problem = PROBLEMS[dimensions];
    const best = [x, y].slice(0, dimensions);
    const falsePeak = critic === "right" ? null : critic;
    const asked = criticOf(best, falsePeak && problem.peaks[falsePeak]);
    return { ...problem, best, falsePeak, critic: asked, truth: criticOf(best), weight, steps };
  }

  function runsOf(problem, method, n) {
    const { noises } = problem;
    if (method === "best_of_n") return noises.map((some) => bestOf(problem, some.slice(0, n)));
    return noises.map((some) => sample(problem, method, some[0]));
  }

  const mean = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

  function numbersOf({ mixture, critic, truth }, runs) {
    const actions = runs.map(({ action }) => action);
    // Further than four standard deviations from every mode, as in examples/guidance_1d.py.
    const isOff = (a) =>
      mixture.modes.every((mode) => squared(add(a, mode, -1)) > (4 * mixture.std) ** 2);
    return {
      critic: mean(actions.map(critic.value)),
      truth: mean(actions.map(truth.value)),
      density: mean(actions.map((a) => logDensity(mixture, a))),
      off: mean(actions.map((a) => (isOff(a) ? 1 : 0))),
    };
  }

  // What was sampled last is kept: t changes only what is drawn of it.
  let kept = {};

  function update() {
    const { t, ...rest } = settings();
    const key = JSON.stringify(rest);
    if (kept.key !== key) {
      const problem = problemOf(rest);
      const results = METHODS.map((method) => {
        const runs = runsOf(problem, method, rest.n);
        return [method, { runs, numbers: numbersOf(problem, runs) }];
      });
      kept = { key, problem, results: Object.fromEntries(results) };
    }
    for (const input of form.querySelectorAll("input[type=range]"))
      input.parentElement.querySelector("output").value = input.value;
    form.querySelector("[data-only='2']").hidden = rest.dimensions !== 2;
    for (const method of METHODS) showPanel(method, t, rest.n);
  }

  function showPanel(method, t, n) {
    const { problem, results } = kept;
    const { runs, numbers } = results[method];
    const figure = panels[method];
    const isBest = method === "best_of_n";
    figure.querySelector("code").textContent = isBest ? `best_of_n(${n})` : method;
    const shown = {
      critic: ["mean Q", numbers.critic.toFixed(2)],
      truth: ["true mean", numbers.truth.toFixed(2)],
      density: ["log-density", numbers.density.toFixed(2)],
      off: ["off the data", `${(100 * numbers.off).toFixed(0)}%`],
    };
    for (const [name, [label, value]] of Object.entries(shown)) {
      const row = figure.querySelector(`[data-number=${name}]`);
      row.querySelector("dt").textContent = label;
      row.querySelector("dd").textContent = value.replace(/^-0.00$/, "0.00").replace("-", "−");
    }
    // A critic that is right says the truth.
    figure.querySelector("[data-number=truth]").hidden = !problem.falsePeak;
    const canvas = figure.querySelector("canvas");
    canvas.setAttribute("aria-label", `${runs.length} actions of ${method} at t = ${t}`);
    const field = isBest ? "unguided" : method;
    problem.show(canvas, { problem, method: field, runs, t });
  }

  let isAsked = false;
  function ask() {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      update();
    });
  }

  // One way from noise to action takes three seconds.
  let playing = null;
  function play(now) {
    if (playing === null) return;
    playing.since ??= now;
    const t = playing.from + (now - playing.since) / 3000;
    form.elements.t.value = Math.min(1, t);
    update();
    if (t >= 1) stop();
    else requestAnimationFrame(play);
  }

  const button = form.querySelector("[data-play]");
  function stop() {
    playing = null;
    button.textContent = "Play";
  }

  button.addEventListener("click", () => {
    if (playing !== null) return stop();
    const t = Number(form.elements.t.value);
    playing = { from: t < 1 ? t : 0, since: null };
    button.textContent = "Pause";
    requestAnimationFrame(play);
  });

  // The buttons below the figure set some controls, and the others to what they were at first.
  for (const example of document.querySelectorAll("[data-set]"))
    example.addEventListener("click", () => {
      stop();
      form.reset();
      for (const [name, value] of Object.entries(JSON.parse(example.dataset.set)))
        form.elements[name].value = value;
      update();
      form.scrollIntoView({ block: "start" });
    });

  form.addEventListener("input", (event) => {
    if (event.target.name === "t") stop();
    ask();
  });
  form.addEventListener("reset", () => {
    stop();
    ask();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  new ResizeObserver(ask).observe(form);
  // The reader may switch between light and dark.
  new MutationObserver(ask).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  form.hidden = false;
  update();

  // What is shown, for those who would check it.
  globalThis.idea = () => ({
    settings: settings(),
    noises: kept.problem.noises,
    panels: Object.fromEntries(
      Object.entries(kept.results).map(([method, { runs, numbers }]) => [
        method,
        {
          ...numbers,
          actions: runs.map(({ action }) => action),
          at_t: runs.map(({ path }) => atTime(path, settings().t).point),
        },
      ]),
    ),
  });
}
