"""Judges the papers of a release by other people's programs: papers.py sbom FILE... | provenance FILE

CycloneDX by the validator of its own Python library (strict: unknown fields are errors), provenance by in-toto's own
message types (unknown fields are errors) and their rules. Prints what is wrong and ends with 1, or prints nothing.
"""

import json
import sys


def sbom(path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with open(path, encoding="utf-8") as file:
        text = file.read()
    version = SchemaVersion.from_version(json.loads(text)["specVersion"])
    problem = JsonStrictValidator(version).validate_str(text)
    return [] if problem is None else [str(problem).splitlines()[0]]


def provenance(path):
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import resource_descriptor, statement, statement_pb2

    with open(path, encoding="utf-8") as file:
        told = json.load(file)
    problems = []
    try:
        # The one field whose name protobuf does not allow.
        parsed = json_format.ParseDict({"type" if key == "_type" else key: value for key, value in told.items()},
                                       statement_pb2.Statement())
        statement.Statement.copy_from_pb(parsed).validate()
        predicate = json_format.ParseDict(told["predicate"], provenance_pb2.Provenance())
        definition, details = predicate.build_definition, predicate.run_details
        for material in definition.resolved_dependencies:
            resource_descriptor.ResourceDescriptor.copy_from_pb(material).validate()
        # What SLSA v1.0 requires of a builder at its first level.
        for name, value in [("buildType", definition.build_type), ("externalParameters", definition.external_parameters),
                            ("builder.id", details.builder.id)]:
            if not value:
                problems.append(f"{name} is missing")
        if told["predicateType"] != "https://slsa.dev/provenance/v1":
            problems.append("predicateType is not SLSA's")
    except (ValueError, json_format.ParseError) as problem:
        problems.append(str(problem))
    return problems


judge = {"sbom": sbom, "provenance": provenance}[sys.argv[1]]
found = [f"{path}: {problem}" for path in sys.argv[2:] for problem in judge(path)]
print("\n".join(found))
sys.exit(1 if found else 0)
