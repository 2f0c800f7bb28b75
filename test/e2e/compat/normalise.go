package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// normal writes an answer so that two equal ones are the same text: status, content
// type, and the body without what may differ.
func normal(a answer) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "HTTP %d\nContent-Type: %s\n", a.status, a.header.Get("Content-Type"))
	if encoding := a.header.Get("Content-Encoding"); encoding != "" {
		fmt.Fprintf(&out, "Content-Encoding: %s\n", encoding)
	}
	if a.header.Get("Retry-After") != "" {
		out.WriteString("Retry-After: N\n")
	}
	body, err := normalBody(a)
	if err != nil {
		return "", err
	}
	out.WriteString(body)
	return out.String(), nil
}

func normalBody(a answer) (string, error) {
	media, options, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || len(a.body) == 0 {
		return string(a.body), nil // no type: the body is shown as it is
	}
	switch {
	case options["stream"] == "watch" && strings.HasSuffix(media, "protobuf"):
		return protobufFrames(a.body)
	case media == "application/json" && (options["stream"] == "watch" || isFrames(a.body)):
		return jsonFrames(a.body)
	case media == "application/json":
		// Errors are indented for whoever did not ask for plain JSON, or not: nobody minds.
		pretty := bytes.HasPrefix(a.body, []byte("{\n")) && a.status < 400
		text, err := normalJSON(a.body)
		return fmt.Sprintf("indented: %t\n%s", pretty, text), err
	case media == "application/vnd.kubernetes.protobuf":
		return normalProtobuf(a.body)
	case media == "application/yaml":
		text, err := yaml.YAMLToJSON(a.body)
		if err != nil {
			return "", fmt.Errorf("decode YAML: %w", err)
		}
		return normalJSON(text)
	default:
		return string(a.body), nil
	}
}

// isFrames says whether the body is a watch's: API servers name it application/json.
func isFrames(body []byte) bool { return bytes.HasPrefix(body, []byte(`{"type":`)) }

func jsonFrames(body []byte) (string, error) {
	var out strings.Builder
	decoder := json.NewDecoder(bytes.NewReader(body))
	for decoder.More() {
		var frame struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&frame); err != nil {
			return "", fmt.Errorf("decode a watch frame: %w", err)
		}
		if err := writeFrame(&out, frame.Type, frame.Object); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// protobufFrames reads frames of four bytes of length and an encoded WatchEvent.
func protobufFrames(body []byte) (string, error) {
	var out strings.Builder
	for len(body) > 0 {
		if len(body) < 4 || len(body)-4 < int(binary.BigEndian.Uint32(body)) {
			return "", fmt.Errorf("decode a watch frame: it is cut off after %d bytes", len(body))
		}
		size := int(binary.BigEndian.Uint32(body))
		var event metav1.WatchEvent
		if err := event.Unmarshal(body[4 : 4+size]); err != nil {
			return "", fmt.Errorf("decode a watch frame: %w", err)
		}
		body = body[4+size:]
		text, err := protobufToJSON(event.Object.Raw)
		if err != nil {
			return "", err
		}
		if err := writeFrame(&out, event.Type, text); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func writeFrame(out *strings.Builder, kind string, object []byte) error {
	if kind == "BOOKMARK" && !bytes.Contains(object, []byte("k8s.io/initial-events-end")) {
		return nil // they come when the server likes
	}
	if kind == "BOOKMARK" {
		object = onlyMetadata(object) // the contract; some servers fill in an empty spec
	}
	text, err := normalJSON(object)
	fmt.Fprintf(out, "--- %s\n%s", kind, text)
	return err
}

func onlyMetadata(object []byte) []byte {
	var o struct {
		Kind       string          `json:"kind"`
		APIVersion string          `json:"apiVersion"`
		Metadata   json.RawMessage `json:"metadata"`
	}
	if json.Unmarshal(object, &o) != nil {
		return object
	}
	text, err := json.Marshal(o)
	if err != nil {
		return object
	}
	return text
}

func normalProtobuf(body []byte) (string, error) {
	text, err := protobufToJSON(body)
	if err != nil {
		return "", err
	}
	return normalJSON(text)
}

func protobufToJSON(body []byte) ([]byte, error) {
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), metav1.AddMetaToScheme(known)); err != nil {
		return nil, err
	}
	o, kind, err := serializer.NewCodecFactory(known).UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decode protobuf: %w", err)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode %v: %w", kind, err)
	}
	return text, nil
}

func normalJSON(text []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // 1 and 1.0 differ, and no digit is lost
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return "", fmt.Errorf("decode %.80q: %w", text, err)
	}
	if top, ok := tree.(map[string]any); ok {
		normalTop(top)
	}
	out := &bytes.Buffer{}
	encoder := json.NewEncoder(out) // sorts the keys
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(withoutManagedFields(tree)); err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return out.String(), nil
}

// normalTop replaces what lists, tables, bookmarks and errors say of the moment.
func normalTop(top map[string]any) {
	kind, _ := top["kind"].(string)
	meta, _ := top["metadata"].(map[string]any)
	_, named := meta["name"]
	if strings.HasSuffix(kind, "List") || kind == "Table" || meta != nil && !named {
		replace(meta, "resourceVersion", "VERSION")
		replace(meta, "continue", "TOKEN")
	}
	switch kind {
	case "Table":
		rows, _ := top["rows"].([]any)
		for _, row := range rows {
			normalRow(row)
		}
	case "Status":
		normalStatus(top)
	case "APIResourceList":
		normalResources(top)
	}
}

func replace(m map[string]any, key, with string) {
	if text, ok := m[key].(string); ok && text != "" {
		m[key] = with
	}
}

var agoInCell = regexp.MustCompile(`\((\d+[ydhms])+ ago\)`)

func normalRow(row any) {
	r, _ := row.(map[string]any)
	cells, _ := r["cells"].([]any)
	for i, cell := range cells {
		text, ok := cell.(string)
		if _, _, isAge := parseAge(text); ok && isAge {
			cells[i] = "AGE"
		} else if ok {
			cells[i] = agoInCell.ReplaceAllString(text, "(AGE ago)")
		}
	}
}

var number = regexp.MustCompile(`\d+`)

func normalStatus(status map[string]any) {
	if text, ok := status["message"].(string); ok {
		status["message"] = number.ReplaceAllString(text, "N")
	}
	details, _ := status["details"].(map[string]any)
	causes, _ := details["causes"].([]any)
	for _, cause := range causes {
		if c, ok := cause.(map[string]any); ok {
			if text, ok := c["message"].(string); ok {
				c["message"] = number.ReplaceAllString(text, "N")
			}
		}
	}
}

// withoutManagedFields cuts what KRM cuts, wherever it is.
func withoutManagedFields(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		if meta, ok := t["metadata"].(map[string]any); ok {
			delete(meta, "managedFields")
		}
		for key, value := range t {
			t[key] = withoutManagedFields(value)
		}
	case []any:
		for i, value := range t {
			t[i] = withoutManagedFields(value)
		}
	}
	return tree
}

// normalResources leaves of a group's resources what KRM serves, and of their verbs
// those that read.
func normalResources(list map[string]any) {
	group, _, found := strings.Cut(fmt.Sprint(list["groupVersion"]), "/")
	if !found {
		group = ""
	}
	resources, _ := list["resources"].([]any)
	var kept []any
	for _, resource := range resources {
		r, _ := resource.(map[string]any)
		name, _ := r["name"].(string)
		if group != "" {
			name += "." + group
		}
		if !slices.Contains(watched(), name) {
			continue
		}
		verbs, _ := r["verbs"].([]any)
		r["verbs"] = slices.DeleteFunc(verbs, func(verb any) bool { return verb != "get" && verb != "list" && verb != "watch" })
		kept = append(kept, r)
	}
	list["resources"] = kept
}
