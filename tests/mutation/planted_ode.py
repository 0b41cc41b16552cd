"""Planted faults in solves and their gradients: what a field depends on, what is run again, what is kept."""

FAULTS: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("replications/flows/ode/counter.py", "test_counter"): {
        "evaluations of the backward pass as forward": (
            "self._counts[in_backward()] +=",
            "self._counts[0] +=",
        ),
        "steps of the tape outlive a reset": (
            "        self.taped = self.checkpointed = 0",
            "        self.taped, self.checkpointed = getattr(self, 'taped', 0), 0",
        ),
    },
    ("replications/flows/ode/tableau.py", "test_tableau"): {
        "midpoint for Euler's cost": (
            '"midpoint": _read(2, "|1/2", "0 1")',
            '"midpoint": _read(2, "|1/2", "1 0")',
        ),
        "a weight of dopri5": ('_DOPRI5 = "35/384 0 500/1113', '_DOPRI5 = "35/384 0 500/1112'),
    },
    ("replications/flows/ode/sources.py", "test_field_sources"): {
        "only leaves are sources": ("    others += _of_edges(edges, named, met, gradient)\n", ""),
        "what a field makes is a source": ("if id(x) in lasting]", "]"),
        "a history is counted twice": ("named.items() if not older(x)}", "named.items()}"),
        "a tensor and one computed from it": ("if any(id(x) in direct and older(x)", "if any(False"),
        "a state is a source": ("leaves = [x for x in leaves if x is not start]", "pass"),
        "a new tensor is no fault": ("if strange or not edges <= stops:", "if not edges <= stops:"),
        "every later solve is unchecked": (
            "return _solves[key].bit_count() == 1",
            "return _solves[key] == 1",
        ),
        "a plain function is checked as seldom": (
            "if self.others or not isinstance(field, nn.Module):",
            "if self.others:",
        ),
    },
    ("replications/flows/ode/repetition.py", "test_repetition"): {
        "buffers told by their version": ("or not same(self.buffer, self.value)", ""),
        "draws go on": ("        self._set_generators(snapshot)\n        for kept", "        for kept"),
        "any repetition will do": (
            '        raise RequestError(\n            "evaluated',
            '        RequestError(\n            "evaluated',
        ),
        "compared with the state": ("** 0.5 * change.abs()", "** 0.5 * before.abs()"),
        "a cache of cast weights": (", cache_enabled=False", ""),
    },
    ("replications/flows/ode/checkpoint.py", "test_solve_usage"): {
        "a backward pass in its own autocast": (
            "    stack.enter_context(integrator.guarded.autocast.again())\n",
            "",
        ),
        "a batch norm averages twice": (
            "        stack.enter_context(integrator.memory.aside())\n",
            "        pass\n",
        ),
        "the start's own history": ("            y = y.detach().requires_grad_()\n", ""),
    },
    ("replications/flows/ode/kept.py", "test_kept_graphs"): {
        "one graph too many": ("len(self.steps) + 1 <= self.graphs", "len(self.steps) <= self.graphs"),
        "used graphs are kept": ("            step.graph = None\n", ""),
    },
    ("replications/flows/ode/memory.py", "test_kept_graphs"): {
        "a container's limit": ("min(_available(), _group_left())", "_available()"),
        "weights counted as kept": ("if pointer not in left_out)", ")"),
    },
    ("replications/flows/ode/state.py", "test_solve_inputs"): {
        "a value that is broadcast": ("if value.shape != shape:", "if value.numel() > shape.numel():"),
        "a value of another precision": (
            "    if value.dtype == y.dtype:\n",
            "    if value.is_floating_point():\n",
        ),
        "an endless solve": ("if not math.isfinite(number):", "if math.isnan(number):"),
        "empty parts in the norm": (" if part.numel()]", "]"),
    },
    ("replications/flows/ode/products.py", "test_product_choice"): {
        "the slower product": ("best[self.other] < GAIN", "best[self.other] > GAIN"),
        "measured in every process": ("            self.known |= self._read()\n", "            pass\n"),
        "layouts forgotten": ("{tuple(map(int, x.stride()))}", ""),
    },
    ("replications/flows/ode/state.py", "test_solve_conformance"): {
        "memory that is filled again": ("value.is_inference() or value._version > 0", "value.is_inference()"),
        "a state changed in place": ("(_version(t), _version(y)) != before", "_version(t) != before[0]"),
        "a time changed in place": ("(_version(t), _version(y)) != before", "_version(y) != before[1]"),
        "a compiled step's own state written to": (
            "field(t.clone(), split(y.clone(), shapes))",
            "field(t, split(y, shapes))",
        ),
    },
    ("replications/flows/ode/sources.py", "test_solve_conformance"): {
        "a lost graph is no fault": (
            "if not torch.equal(evaluate(moved), evaluate(y.detach())):",
            "if False:",
        ),
    },
    ("replications/flows/ode/adjoint.py", "test_repetition"): {
        "a field that alternates": ("field.repeat(field.last)", "None"),
        "a field that changes on the way back": ("field.repeat(field.first)", "None"),
    },
    ("replications/flows/ode/guards.py", "test_solve_inputs"): {
        "a write that torch does not count": ("if not same(y.detach(), before):", "if False:"),
        "the first evaluation is not looked at": ("self._first(t, y) if first else ", ""),
    },
    ("replications/flows/ode/adjoint.py", "test_solve_inputs"): {
        "a constant has no graph": ("value if value.requires_grad else value + 0 * y", "value"),
    },
    ("replications/flows/ode/checkpoint.py", "test_solve_inputs"): {
        "a constant slope is differentiated": (
            "zip(graph.ends, cotangents) if end.requires_grad]",
            "zip(graph.ends, cotangents)]",
        ),
    },
}
