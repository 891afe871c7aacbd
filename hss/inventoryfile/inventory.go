package inventoryfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// maxInventoryBytes bounds an inventory file.
const maxInventoryBytes = 64 << 20

// File is what an inventory file holds.
type File struct {
	Images      []Image
	Registries  []Registry
	Credentials []Credential
	Tokens      []string
	Projects    []string
	IAMProjects []IAMProject
	Faults      []Fault
}

// Load reads an inventory file; see [Parse].
func Load(path string, start time.Time) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, maxInventoryBytes+1))
	if err != nil {
		return nil, fmt.Errorf("inventory: read %s: %w", path, err)
	}
	inventory, err := Parse(data, start)
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", path, err)
	}
	return inventory, nil
}

// Parse reads an inventory, one YAML document or JSON of at most
// 64 MiB. Unknown and repeated fields are errors; one error lists everything
// that is wrong, with the row's number counted from 1, the field, its value and
// what is allowed.
//
//	images:                    # the rows; all fields of the API are allowed
//	- namespace: prod
//	  image_name: app          # required
//	  image_version: "1.0"     # in quotes, or YAML reads a number
//	  scan_status: success     # default: unscan
//	  severity_level: Low
//	  vul_num: 0
//	  latest_scan_time: -2h    # before start; or RFC 3339; or ms since the epoch
//	  association_images:      # names default to the row's
//	  - {image_digest: "sha256:…", scan_status: success, vul_num: 7}
//	  vulnerabilities:         # of the row, or of an architecture
//	  - {vul_id: CVE-2024-3094, repair_necessity: immediate_repair, app_name: xz, version: "5.6.0", solution: update}
//	  enterprise_project_id: "0"   # default: "0"
//	  project_id: p1               # default: every project
//	  hidden: true             # until its registry is synchronised
//	  scan_outcome: {scan_status: success, severity_level: Low, vul_num: 3}
//	registries:                # of which id and registry_type are required
//	- {id: r1, registry_type: SwrPrivate, registry_addr: swr.example.com, status: success}
//	projects: [p1]             # default: every project exists
//	iam_projects:              # default: those of projects, in every region; or that of the server
//	- {id: p1, name: cn-north-4} # the name is that of the region
//	credentials:               # default: that of the server
//	- {access_key: AK, secret_key: SK, security_token: T, projects: [p1]}
//	tokens: [t1]               # values of X-Auth-Token
//	faults:                    # in order; see Fault
//	- {kind: status, status: 503, times: 2, namespace: prod, image_name: app, endpoint: images}
//
// Further defaults: id and latest_version are assigned, image_type is
// private_image, registry_type and registry_name follow from the type,
// image_id from the digest (or made up, for a row with vulnerabilities and no
// digest), scannable is true, is_multiple_arch is whether there are
// association_images, vul_num is the number of vulnerabilities if any
// are given, and a scan that is started finds nothing bad. A time may have the units d, h, m and s, and a sign: -60d is sixty
// days before start.
func Parse(data []byte, start time.Time) (*File, error) {
	if len(data) > maxInventoryBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxInventoryBytes)
	}
	document, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	inventory := &File{}
	if err := decodeObject("document", document, inventoryFields(start), inventory); err != nil {
		return nil, err
	}
	if err := checkIDs(inventory.Images); err != nil {
		return nil, err
	}
	return inventory, nil
}

// inventoryFields are the fields of the document.
func inventoryFields(start time.Time) map[string]setter[File] {
	return map[string]setter[File]{
		"images": func(i *File, raw json.RawMessage) error {
			rows, err := decodeList("images", raw, imageFields(start), finishImage)
			for _, row := range rows {
				i.Images = append(i.Images, row.Image)
			}
			return err
		},
		"credentials": func(i *File, raw json.RawMessage) (err error) {
			i.Credentials, err = decodeList("credentials", raw, credentialFields(), finishCredential)
			return err
		},
		"faults": func(i *File, raw json.RawMessage) (err error) {
			i.Faults, err = decodeList("faults", raw, faultFields(), finishFault)
			return err
		},
		"registries": func(i *File, raw json.RawMessage) (err error) {
			i.Registries, err = decodeList("registries", raw, registryFields(start), finishRegistry)
			return err
		},
		"iam_projects": func(i *File, raw json.RawMessage) (err error) {
			i.IAMProjects, err = decodeList("iam_projects", raw, iamProjectFields(), finishIAMProject)
			return err
		},
		"tokens":   texts(1, maxSecretLength, func(i *File) *[]string { return &i.Tokens }),
		"projects": texts(1, 64, func(i *File) *[]string { return &i.Projects }),
	}
}

// toJSON makes JSON of YAML or JSON, without repeated fields.
func toJSON(data []byte) ([]byte, error) {
	if json.Valid(data) {
		return data, checkRepeatedFields(json.NewDecoder(bytes.NewReader(data)), "document")
	}
	if err := checkOneDocument(data); err != nil {
		return nil, err
	}
	document, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("not YAML and not JSON: %w", err)
	}
	return document, nil
}

// checkOneDocument refuses what the YAML decoder would leave unread.
func checkOneDocument(data []byte) error {
	content := false
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		text := strings.TrimRight(line, " \t\r\n")
		switch {
		case text == "---" || strings.HasPrefix(text, "--- "):
			if content {
				return fmt.Errorf("line %d begins another YAML document, allowed is one", number)
			}
		case text != "" && text[0] != '#' && text[0] != '%':
			content = true
		}
	}
	return nil
}

// checkRepeatedFields walks a JSON value that is known to be valid.
func checkRepeatedFields(decoder *json.Decoder, where string) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	switch token {
	case json.Delim('['):
		for row := 1; decoder.More(); row++ {
			if err := checkRepeatedFields(decoder, fmt.Sprintf("%s row %d", where, row)); err != nil {
				return err
			}
		}
		_, err = decoder.Token()
	case json.Delim('{'):
		err = checkRepeatedNames(decoder, where)
	}
	return err
}

func checkRepeatedNames(decoder *json.Decoder, where string) error {
	seen := map[json.Token]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if seen[name] {
			return fmt.Errorf("%s: field %q is given twice", where, name)
		}
		seen[name] = true
		if err := checkRepeatedFields(decoder, fmt.Sprintf("%s field %q", where, name)); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return err
}

// checkIDs refuses two rows with one id.
func checkIDs(images []Image) error {
	rows := map[int64]int{}
	var problems []error
	for i := range images {
		id := images[i].ID
		if first, twice := rows[id]; twice && id != 0 {
			problems = append(problems, fmt.Errorf("images row %d: field \"id\" is %d, which row %d has too", i+1, id, first))
			continue
		}
		rows[id] = i + 1
	}
	return errors.Join(problems...)
}
