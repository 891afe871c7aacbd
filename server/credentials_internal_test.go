package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/inventory"
)

func TestItWarnsOfCredentialsThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("not-to-be-seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	tests := map[string]struct {
		secretKeyFile, projectID string
		want                     []string
	}{
		"all is there":       {key, "p1", nil},
		"a file is missing":  {missing, "p1", []string{"level=WARN", "HSS can't be asked", "project=bj4", missing}},
		"no project's named": {key, "", []string{"level=WARN", "HSS can't be asked", "project=bj4", "no project ID"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			clients, err := inventory.NewClients(filesConfiguration(key, tt.secretKeyFile, tt.projectID), "test")
			if err != nil {
				t.Fatal(err)
			}
			checkCredentials(t.Context(), clients, slog.New(slog.NewTextHandler(&log, nil)))
			for _, want := range tt.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("got %q, want %q in it", log.String(), want)
				}
			}
			if len(tt.want) == 0 && log.Len() > 0 || strings.Contains(log.String(), "not-to-be-seen") {
				t.Errorf("got %q", log.String())
			}
		})
	}
	t.Run("nobody is warned of the end", func(t *testing.T) {
		t.Parallel()
		var log strings.Builder
		clients, err := inventory.NewClients(filesConfiguration(key, missing, ""), "test")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		checkCredentials(ctx, clients, slog.New(slog.NewTextHandler(&log, nil)))
		if log.Len() > 0 {
			t.Errorf("got %q", log.String())
		}
	})
}

func filesConfiguration(accessKeyFile, secretKeyFile, projectID string) *config.Configuration {
	c := config.Default()
	p := config.DefaultProject()
	p.Name, p.Region, p.ProjectID = "bj4", "cn-north-4", projectID
	p.Credentials = config.Credentials{Source: config.SourceFiles, AccessKeyFile: accessKeyFile, SecretKeyFile: secretKeyFile}
	c.Projects = []config.Project{p}
	return c
}
