package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every command line of the documents can be pasted: it is none of wrong usage.
// They run in an empty folder, so each ends where it would read its first file.
func TestCommandsInDocumentsAreWhole(t *testing.T) {
	commands := map[string][]string{}
	for _, path := range documents(t) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		commands[path] = commandsIn(string(content))
	}
	t.Chdir(t.TempDir())
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	found := 0
	for path, lines := range commands {
		for _, line := range lines {
			args := strings.Fields(line)
			command, rest, err := newRootCommand().Find(args)
			if err != nil || !command.HasParent() || len(rest) == 0 { // it only speaks of a command, or is Helm's
				continue
			}
			found++
			_, _, err = run(t, args...)
			if err == nil || strings.Contains(err.Error(), "--help") {
				t.Errorf("%s: hssgate %s: got %v, want that %s misses a file only", path, line, err, command.Name())
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d commands were found", found)
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	paths := []string{"../../README.md", "../../charts/hssgate/README.md", "../../config/reference.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// commandsIn returns what follows the program's name in blocks and in code among
// other words, as far as it is one command.
func commandsIn(page string) []string {
	var code strings.Builder
	fenced := false
	for line := range strings.Lines(strings.ReplaceAll(page, "\\\n", " ")) {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			code.WriteString(line)
		default:
			code.WriteString("\x00" + line) // it may go on in the next
		}
	}
	var commands []string
	prose := regexp.MustCompile("\n\x00").ReplaceAllString(code.String(), " ")
	for _, span := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(prose, -1) {
		commands = append(commands, commandsOf(span[1])...)
	}
	for line := range strings.Lines(code.String()) {
		if !strings.HasPrefix(line, "\x00") {
			commands = append(commands, commandsOf(line)...)
		}
	}
	return commands
}

func commandsOf(line string) []string {
	var commands []string
	for _, match := range regexp.MustCompile(`(?:^|\s)(?:bin/)?hssgate ([a-z]+[^\n]*)`).FindAllStringSubmatch(line, -1) {
		command := regexp.MustCompile(`\s(\||\|\||>|>>|<|#)(\s|$)`).Split(match[1]+" ", 2)[0]
		commands = append(commands, strings.TrimSpace(command))
	}
	return commands
}
