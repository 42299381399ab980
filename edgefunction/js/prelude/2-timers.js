// Timers of the request that is served. The host calls tick when one is due.

let timers = new Map();
let lastTimer = 0;

function clearTimers() { if (timers.size > 0) timers = new Map(); }

function addTimer(what, callback, delay, every, args) {
  inRequest(what);
  if (typeof callback !== 'function') throw new TypeError(`${what}: expected a function`);
  delay = Math.min(Math.max(Number(delay) || 0, every ? 1 : 0), 2 ** 31 - 1);
  timers.set(++lastTimer, { due: performance.now() + delay, delay, every, callback, args });
  return lastTimer;
}

// tick runs what is due, and returns in how many milliseconds it is to be called
// again; -1: nothing waits.
function tick() {
  const now = performance.now();
  const due = [...timers].filter(([, t]) => t.due <= now).sort(([, a], [, b]) => a.due - b.due);
  for (const [id, t] of due) {
    if (!timers.has(id)) continue;
    if (t.every) t.due = now + t.delay;
    else timers.delete(id);
    try {
      t.callback(...t.args);
    } catch (e) {
      host.log('error', 'timer: ' + describe(e));
    }
    return 0; // what it left to promises comes before the next timer
  }
  let next = -1;
  for (const t of timers.values()) next = next < 0 ? t.due : Math.min(next, t.due);
  return next < 0 ? -1 : Math.max(0, next - performance.now());
}

global('setTimeout', (callback, delay, ...args) => addTimer('setTimeout', callback, delay, false, args));
global('setInterval', (callback, delay, ...args) => addTimer('setInterval', callback, delay, true, args));
global('clearTimeout', (id) => { timers.delete(id); });
global('clearInterval', (id) => { timers.delete(id); });
global('queueMicrotask', (callback) => {
  if (typeof callback !== 'function') throw new TypeError('queueMicrotask: expected a function');
  Promise.resolve().then(callback).catch((e) => host.log('error', 'microtask: ' + describe(e)));
});
