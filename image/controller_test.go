package image_test

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/hssgate/hssgate/image"
)

func TestController(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		owners string
		want   image.Controller
	}{
		"none":                     {`[]`, image.Controller{}},
		"null":                     {`null`, image.Controller{}},
		"an owner that controls":   {`[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"1","controller":true,"blockOwnerDeletion":true}]`, image.Controller{Kind: "ReplicaSet", Name: "web-1"}},
		"an owner that doesn't":    {`[{"kind":"Node","name":"n"}]`, image.Controller{}},
		"the one of two that does": {`[{"kind":"Node","name":"n","controller":false},{"kind":"Job","name":"j","controller":true}]`, image.Controller{Kind: "Job", Name: "j"}},
		"however many there are":   {`[` + strings.Repeat(`{"kind":"A","name":"a"},`, 5000) + `{"kind":"B","name":"b","controller":true}]`, image.Controller{Kind: "B", Name: "b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m image.Manifest
			if err := json.Unmarshal([]byte(`{"metadata":{"ownerReferences":`+test.owners+`}}`), &m); err != nil {
				t.Fatal(err)
			}
			if m.Metadata.Controller != test.want {
				t.Errorf("got %+v, want %+v", m.Metadata.Controller, test.want)
			}
		})
	}
}

func TestOwnersThatAreNoListAreRefused(t *testing.T) {
	t.Parallel()
	var m image.Manifest
	if err := json.Unmarshal([]byte(`{"metadata":{"ownerReferences":{}}}`), &m); err == nil {
		t.Error("there was no error")
	}
}
