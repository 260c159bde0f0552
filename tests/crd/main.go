// Holds CustomResourceDefinitions against Kubernetes' own validation, and documents against the definitions.
//
// Usage: crd DEFINITIONS ACCEPTED REFUSED: three directories of YAML. Every document of ACCEPTED has to be valid and to come
// out of pruning as it went in; every document of REFUSED has to be refused by schema or validation rule.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	k8syaml "sigs.k8s.io/yaml"
)

type kind struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *schemacel.Validator
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: crd DEFINITIONS ACCEPTED REFUSED")
	}
	kinds := map[string]*kind{}
	for _, text := range read(os.Args[1]) {
		name, kind := define(text)
		kinds[name] = kind
	}
	accepted, refused := 0, 0
	for place, text := range read(os.Args[2]) {
		accepted++
		if errs := judge(kinds, text); len(errs) > 0 {
			fail("%s is refused: %v", place, errs)
		}
	}
	for place, text := range read(os.Args[3]) {
		refused++
		if errs := judge(kinds, text); len(errs) == 0 {
			fail("%s is taken", place)
		}
	}
	if len(kinds) == 0 || accepted == 0 || refused == 0 {
		fail("nothing was checked: %d definitions, %d accepted, %d refused", len(kinds), accepted, refused)
	}
	fmt.Printf("%d definitions are valid; %d documents are taken and %d refused, as they should be\n", len(kinds), accepted, refused)
}

// define validates a definition as the API server does when it is created, and compiles it.
func define(text []byte) (string, *kind) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	var written apiextensionsv1.CustomResourceDefinition
	if err := k8syaml.UnmarshalStrict(text, &written); err != nil {
		fail("not a CustomResourceDefinition: %v", err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&written)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&written.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := scheme.Convert(&written, &internal, nil); err != nil {
		fail("%s: %v", written.Name, err)
	}
	internal.Status.StoredVersions = []string{internal.Spec.Versions[0].Name}
	if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal); len(errs) > 0 {
		fail("%s is invalid: %v", written.Name, errs.ToAggregate())
	}
	props := internal.Spec.Validation
	if props == nil {
		props = internal.Spec.Versions[0].Schema
	}
	structural, err := structuralschema.NewStructural(props.OpenAPIV3Schema)
	if err != nil {
		fail("%s: %v", written.Name, err)
	}
	schema, _, err := validation.NewSchemaValidator(props.OpenAPIV3Schema)
	if err != nil {
		fail("%s: %v", written.Name, err)
	}
	rules := schemacel.NewValidator(structural, true, celconfig.PerCallLimit)
	return internal.Spec.Names.Kind, &kind{structural, schema, rules}
}

func judge(kinds map[string]*kind, text []byte) field.ErrorList {
	var object map[string]interface{}
	if err := k8syaml.Unmarshal(text, &object); err != nil {
		return field.ErrorList{field.Invalid(nil, "", err.Error())}
	}
	kind, known := kinds[fmt.Sprint(object["kind"])]
	if !known {
		return field.ErrorList{field.NotSupported(field.NewPath("kind"), object["kind"], []string{"WarehousePolicy", "ClusterWarehousePolicy", "WarehouseBinding"})}
	}
	before := runtime.DeepCopyJSON(numbers(object))
	after := runtime.DeepCopyJSON(before)
	pruning.Prune(after, kind.structural, true)
	if !reflect.DeepEqual(before, after) {
		fail("a key was pruned from %s", text)
	}
	errs := validation.ValidateCustomResource(nil, after, kind.schema)
	more, _ := kind.rules.Validate(context.Background(), nil, kind.structural, after, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, more...)
}

// numbers makes whole numbers what the API server makes of them.
func numbers(object map[string]interface{}) map[string]interface{} {
	var walk func(value interface{}) interface{}
	walk = func(value interface{}) interface{} {
		switch value := value.(type) {
		case map[string]interface{}:
			for key, inner := range value {
				value[key] = walk(inner)
			}
		case []interface{}:
			for index, inner := range value {
				value[index] = walk(inner)
			}
		case float64:
			return int64(value)
		}
		return value
	}
	return walk(object).(map[string]interface{})
}

// read returns every document of every YAML file of a directory, by its place.
func read(directory string) map[string][]byte {
	documents := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil {
		fail("%v", err)
	}
	sort.Strings(paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			fail("%v", err)
		}
		decoder := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
		for number := 1; ; number++ {
			buffer := make([]byte, len(text)+1)
			length, err := decoder.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				fail("%s: %v", path, err)
			}
			documents[fmt.Sprintf("%s#%d", path, number)] = buffer[:length]
		}
	}
	return documents
}

func fail(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, "crd: "+format+"\n", values...)
	os.Exit(1)
}
