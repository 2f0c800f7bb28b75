package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// items are the objects of an answer: of a list, or the one that was asked for.
type items struct {
	metav1.TypeMeta
	Items  []json.RawMessage
	IsList bool
}

func decodeItems(body []byte) (items, error) {
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Items           []json.RawMessage `json:"items"`
	}
	if err := utiljson.Unmarshal(body, &list); err != nil {
		return items{}, fmt.Errorf("decode the answer: %w", err)
	}
	if kind, isList := strings.CutSuffix(list.Kind, "List"); isList {
		return items{metav1.TypeMeta{Kind: kind, APIVersion: list.APIVersion}, list.Items, true}, nil
	}
	return items{list.TypeMeta, []json.RawMessage{body}, false}, nil
}

// tree decodes one object. A list's items need not say what they are; the list does.
func (l items) tree(item json.RawMessage) (map[string]any, error) {
	var tree map[string]any
	if err := utiljson.Unmarshal(item, &tree); err != nil {
		return nil, fmt.Errorf("decode an object: %w", err)
	}
	if tree == nil {
		return nil, errors.New("decode an object: it is null")
	}
	if tree["kind"] == nil {
		tree["kind"] = l.Kind
	}
	if tree["apiVersion"] == nil {
		tree["apiVersion"] = l.APIVersion
	}
	return tree, nil
}

// print writes the objects as format, "json", "yaml" or "name", byte for byte as
// kubectl does. It decodes one object at a time.
func (l items) print(w io.Writer, format string) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	printer := map[string]func(io.Writer) error{"json": l.printJSON, "yaml": l.printYAML, "name": l.printNames}[format]
	return errors.Join(printer(buffered), buffered.Flush())
}

func (l items) printJSON(w io.Writer) error {
	indent := ""
	if l.IsList {
		indent = "        "
		fmt.Fprint(w, "{\n    \"apiVersion\": \"v1\",\n    \"items\": [")
	}
	for i, item := range l.Items {
		tree, err := l.tree(item)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(tree, indent, "    ")
		if err != nil {
			return fmt.Errorf("print an object: %w", err)
		}
		if l.IsList {
			fmt.Fprint(w, map[bool]string{true: "\n", false: ",\n"}[i == 0], indent)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if !l.IsList {
		_, err := fmt.Fprintln(w)
		return err
	}
	if len(l.Items) > 0 {
		fmt.Fprint(w, "\n    ")
	}
	_, err := fmt.Fprint(w, "],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n")
	return err
}

func (l items) printYAML(w io.Writer) error {
	if l.IsList {
		fmt.Fprintln(w, "apiVersion: v1")
		fmt.Fprintln(w, map[bool]string{true: "items: []", false: "items:"}[len(l.Items) == 0])
	}
	for _, item := range l.Items {
		tree, err := l.tree(item)
		if err != nil {
			return err
		}
		var shown any = tree
		if l.IsList {
			shown = []any{tree} // one element is written just as it stands among the others
		}
		text, err := yaml.Marshal(shown)
		if err != nil {
			return fmt.Errorf("print an object: %w", err)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if !l.IsList {
		return nil
	}
	_, err := fmt.Fprint(w, "kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	return err
}

// printNames writes "pod/web-1" or "deployment.apps/web", which krm get and
// kubectl take as arguments.
func (l items) printNames(w io.Writer) error {
	for _, item := range l.Items {
		object := metav1.PartialObjectMetadata{TypeMeta: l.TypeMeta}
		if err := utiljson.Unmarshal(item, &object); err != nil {
			return fmt.Errorf("decode an object: %w", err)
		}
		kind := schema.FromAPIVersionAndKind(object.APIVersion, object.Kind).GroupKind()
		if _, err := fmt.Fprintf(w, "%s/%s\n", strings.ToLower(kind.String()), object.Name); err != nil {
			return err
		}
	}
	return nil
}
