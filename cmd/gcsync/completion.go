package main

import (
	"context"
	"flag"
	"strings"
)

var completionCommand = &command{
	name:     "completion",
	operands: []string{"bash|zsh|fish"},
	about:    "Prints a script that completes commands and flags in a shell.",
	help: `
  source <(gcsync completion bash)          # in ~/.bashrc
  source <(gcsync completion zsh)           # in ~/.zshrc, after compinit
  gcsync completion fish | source           # in config.fish`,
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, a *app, operands, _ []string) error {
			script, ok := map[string]func() string{"bash": bash, "zsh": zsh, "fish": fish}[operands[0]]
			if !ok {
				return usagef("no completion for %q: there is bash, zsh and fish", operands[0])
			}
			return write(a.stdout, script())
		}
	},
}

// names lists all commands.
func names() string {
	var list []string
	for _, c := range commands {
		list = append(list, c.name)
	}
	return strings.Join(list, " ")
}

// words lists what may be completed after a command: its flags, or what it takes.
func (c *command) words() string {
	var list []string
	f, _ := c.flags()
	f.VisitAll(func(f *flag.Flag) { list = append(list, "-"+f.Name) })
	switch c.name {
	case "help":
		list = append(list, names())
	case "completion":
		list = append(list, "bash zsh fish")
	}
	return strings.Join(list, " ")
}

func bash() string {
	var b strings.Builder
	b.WriteString(`_gcsync() {
	local cur=${COMP_WORDS[COMP_CWORD]} words i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		# after --, what the user's command can be
		[ "${COMP_WORDS[i]}" = -- ] && { COMPREPLY=($(compgen -c -f -- "$cur")); return; }
	done
	if [ "$COMP_CWORD" = 1 ]; then
		words="` + names() + `"
	else
		case ${COMP_WORDS[1]} in
`)
	for _, c := range commands {
		b.WriteString("\t\t" + c.name + ") words=\"" + c.words() + "\" ;;\n")
	}
	b.WriteString(`		esac
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _gcsync gcsync
`)
	return b.String()
}

func zsh() string {
	var b strings.Builder
	b.WriteString("_gcsync() {\n\tif (( CURRENT == 2 )); then\n\t\tlocal -a list=(\n")
	for _, c := range commands {
		b.WriteString("\t\t\t" + quote(c.name+":"+c.about) + "\n")
	}
	b.WriteString("\t\t)\n\t\t_describe command list\n\t\treturn\n\tfi\n")
	b.WriteString("\tif (( ${words[(I)--]} && ${words[(I)--]} < CURRENT )); then\n\t\t_command_names -e; _files\n\t\treturn\n\tfi\n")
	b.WriteString("\tcase $words[2] in\n")
	for _, c := range commands {
		b.WriteString("\t" + c.name + ") compadd -- " + c.words() + " ;;\n")
	}
	b.WriteString("\tesac\n}\ncompdef _gcsync gcsync\n")
	return b.String()
}

func fish() string {
	var b strings.Builder
	b.WriteString("complete -c gcsync -f\n")
	for _, c := range commands {
		b.WriteString("complete -c gcsync -n __fish_use_subcommand -a " + c.name + " -d " + quote(c.about) + "\n")
		if words := c.words(); words != "" {
			b.WriteString("complete -c gcsync -n '__fish_seen_subcommand_from " + c.name + "' -a " + quote(words) + "\n")
		}
	}
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
