// Package js runs functions in JavaScript and TypeScript.
package js
