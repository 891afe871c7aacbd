package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  hssgate version\n  hssgate version -o json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := versionInfo{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			text, err := info.format(output)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return cmd
}

func (i versionInfo) format(output string) (text string, err error) {
	var data []byte
	switch output {
	case "text":
		return fmt.Sprintf("hssgate %s (%s, %s)", i.Version, i.Go, i.Platform), nil
	case "json":
		data, err = json.MarshalIndent(i, "", "  ")
	case "yaml":
		data, err = yaml.Marshal(i)
	default:
		err = usageError{fmt.Errorf("--output must be text, json or yaml, not %q", output)}
	}
	return strings.TrimSuffix(string(data), "\n"), err
}
