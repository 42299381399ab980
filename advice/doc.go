// Package advice sorts out what the messages of a record say: what was found, who must act
// and what they do, each once. Whoever shows a record to people asks it: the command line
// and the pages. It knows the API's types and words, and nothing of how they are shown.
package advice
