// global defines a name that functions see.
function global(name, value) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}

// inspect is a value in words, for console and error messages.
function inspect(value, depth, seen = new Set()) {
  switch (typeof value) {
    case 'string': return seen.size > 0 || depth < 3 ? JSON.stringify(value) : value;
    case 'bigint': return `${value}n`;
    case 'function': return `[${/^class\b/.test(Function.prototype.toString.call(value)) ? 'class' : 'Function'}: ${value.name || '(anonymous)'}]`;
    case 'object': break;
    default: return String(value);
  }
  if (value === null) return 'null';
  if (value instanceof Error) return seen.size > 0 ? `[${value.name}: ${value.message}]` : describe(value);
  if (value instanceof Date) return isNaN(value) ? 'Invalid Date' : value.toISOString();
  if (value instanceof RegExp || value instanceof URL) return String(value);
  if (value instanceof Promise) return 'Promise {}';
  if (seen.has(value)) return '[Circular]';
  if (seen.size >= depth) return Array.isArray(value) ? '[Array]' : '[Object]';
  seen.add(value);
  const inner = (v) => inspect(v, depth, seen);
  const more = (items, n) => n > 100 ? [...items, `… ${n - 100} more`] : items;
  try {
    const name = value.constructor?.name ?? '[Object: null prototype]';
    if (Array.isArray(value)) return `[ ${more(value.slice(0, 100).map(inner), value.length).join(', ')} ]`;
    if (ArrayBuffer.isView(value) && value.length !== undefined) return `${name}(${value.length}) [ ${more([...value.subarray(0, 100)], value.length).join(', ')} ]`;
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (value instanceof Set) return `Set(${value.size}) { ${more([...value].slice(0, 100).map(inner), value.size).join(', ')} }`;
    if (value instanceof Map || value instanceof Headers || value instanceof URLSearchParams) {
      const pairs = [...value];
      return `${name} { ${more(pairs.slice(0, 100).map(([k, v]) => `${inner(k)} => ${inner(v)}`), pairs.length).join(', ')} }`;
    }
    const keys = Object.keys(value);
    const fields = keys.slice(0, 100).map((k) => `${/^[A-Za-z_$][\w$]*$/.test(k) ? k : JSON.stringify(k)}: ${inner(value[k])}`);
    const before = name === 'Object' ? '' : name + ' ';
    return keys.length === 0 ? before + '{}' : `${before}{ ${more(fields, keys.length).join(', ')} }`;
  } finally {
    seen.delete(value);
  }
}

function print(level, args) {
  let text = '';
  let i = 0;
  if (typeof args[0] === 'string' && args[0].includes('%')) {
    i = 1;
    text = args[0].replace(/%[sdifjoOc%]/g, (form) => {
      if (form === '%%') return '%';
      if (i >= args.length) return form;
      const value = args[i++];
      switch (form) {
        case '%s': return typeof value === 'object' ? inspect(value, 1) : String(value);
        case '%d': return String(Number(value));
        case '%i': return String(parseInt(value, 10));
        case '%f': return String(parseFloat(value));
        case '%j': return JSON.stringify(value);
        case '%c': return '';
        default: return inspect(value, 4);
      }
    });
  }
  for (; i < args.length; i++) text += (i > 0 ? ' ' : '') + inspect(args[i], 4);
  host.log(level, text.toWellFormed());
}

const counts = new Map(), clocks = new Map();
global('console', {
  log: (...args) => print('info', args),
  info: (...args) => print('info', args),
  warn: (...args) => print('warn', args),
  error: (...args) => print('error', args),
  debug: (...args) => print('debug', args),
  trace: (...args) => print('debug', [...args, new Error('trace').stack]),
  dir: (value) => print('info', [value]),
  table: (value) => print('info', [value]),
  group: (...args) => { if (args.length > 0) print('info', args); },
  groupCollapsed: (...args) => { if (args.length > 0) print('info', args); },
  groupEnd: () => {},
  assert: (ok, ...args) => { if (!ok) print('error', ['assertion failed', ...args]); },
  count: (label = 'default') => {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    print('info', [`${label}: ${counts.get(label)}`]);
  },
  countReset: (label = 'default') => { counts.delete(label); },
  time: (label = 'default') => { clocks.set(label, performance.now()); },
  timeEnd: (label = 'default') => {
    if (clocks.has(label)) print('info', [`${label}: ${(performance.now() - clocks.get(label)).toFixed(3)}ms`]);
    clocks.delete(label);
  },
});
