#!/usr/bin/env python3
"""The matryoshka sum of InfoNCE in fp64, for tests/loss/fixtures/matryoshka.json.

  matryoshka_reference.py --write FILE   draw inputs and write them with their values and gradients
  matryoshka_reference.py --check FILE   recompute from the inputs in FILE and compare

Every cut is a matrix C [dimension, full] of its own, and every normalisation has its Jacobian matrix
(I - u u^T) / |x| written out for each vector. Exit status 77: NumPy is not installed.
"""
from fixture_files import Fixture, embeddings, main, np
from infonce_reference import draw_case, infonce


def cut(rows, kept, normalize):
    """Cut rows, and for each the matrix of its derivatives by the whole row."""
    selection = np.eye(kept, rows.shape[1])
    cut_rows, jacobians = [], []
    for row in rows:
        x, jacobian = selection @ row, selection
        if normalize:
            length = np.sqrt(x @ x)
            x = x / length
            jacobian = (np.eye(kept) - np.outer(x, x)) / length @ selection
        cut_rows.append(x)
        jacobians.append(jacobian)
    return np.array(cut_rows), jacobians


def matryoshka(case):
    query, document = embeddings(case)
    value, log_temperature = 0.0, 0.0
    query_gradient, document_gradient = np.zeros_like(query), np.zeros_like(document)
    for kept in case["dimensions"]:
        cut_query, query_jacobians = cut(query, kept, case["normalize"])
        cut_document, document_jacobians = cut(document, kept, case["normalize"])
        inner = infonce(case | {"query": cut_query.tolist(), "document": cut_document.tolist()})
        value += inner["value"]
        log_temperature += inner["log_temperature_gradient"]
        for total, jacobians, key in [(query_gradient, query_jacobians, "query_gradient"),
                                      (document_gradient, document_jacobians, "document_gradient")]:
            for row, (jacobian, gradient) in enumerate(zip(jacobians, inner[key])):
                total[row] += jacobian.T @ np.array(gradient)
    return {
        "value": value,
        "query_gradient": query_gradient.tolist(),
        "document_gradient": document_gradient.tolist(),
        "log_temperature_gradient": log_temperature,
    }


def draw_cases():
    cases = [draw_case("unit length again", 1, 5, 9, 8, 0.1, True, True) | {"dimensions": [8, 5, 2], "normalize": True},
             draw_case("only cut", 2, 5, 9, 8, 0.2, False, True) | {"dimensions": [6, 1], "normalize": False}]
    for case in cases:  # not of unit length
        case["document"] = (1.5 * np.array(case["document"])).tolist()
    return cases


if __name__ == "__main__":
    main(__doc__, Fixture(draw_cases, matryoshka))
