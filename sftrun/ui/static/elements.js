// What all pages share: elements, and requests.

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function fact(name, value) {
  return value === null || value === undefined || value === "" ? null : element("div", {}, element("dt", {}, name), element("dd", {}, `${value}`));
}

export function table(head, rows, numbers = []) {
  const kind = (i) => (numbers.includes(i) ? "n" : i === 0 ? "key" : "any");
  const line = (tag, cells) => element("tr", {}, ...cells.map((cell, i) => element(tag, { className: kind(i) }, cell)));
  return element("div", { className: "wide" }, element("table", {}, element("thead", {}, line("th", head)), element("tbody", {}, ...rows.map((row) => line("td", row)))));
}

export const money = (usd) => {
  const value = Number(usd);
  return value && value < 0.01 ? `$${value.toPrecision(1)}` : `$${value.toFixed(2)}`;
};

export async function request(path, options) {
  const response = await fetch(path, options);
  return response.json();
}

export const post = (path) => request(path, { method: "POST" });

export async function ask(path, body) {
  try {
    return await request(path, { method: "POST", body: JSON.stringify(body) });
  } catch {
    return { error: "`sftrun ui` does not answer" };
  }
}
