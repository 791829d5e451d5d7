"""Go's text/template (https://pkg.go.dev/text/template), as `--format` uses it, over JSON values.

    lexer      text to tokens
    parser     tokens to a tree of nodes
    nodes      the tree; each node can write itself as source, for messages
    evaluate   the tree, a value and functions to text
    functions  Go's built-in functions and those that Docker adds
    printing   fmt: how Go prints a value, and printf
    documents  what the commands call

Values: None is a nil pointer, dict a map, list a slice, and str, int, float, bool what they look like. An object with
`go_field(name)` (KeyError when there is none) stands for a struct; `go_json()` gives its JSON.
"""
