"""Mutations of the PyTorch frontend and of pools in pieces, for mutations.py.

Each is (name, file under src/depool, old text that occurs once, new text, pytest's node ids that must fail), in the
order of `mutations.Mutation`'s fields.
"""

from __future__ import annotations

from mutants.mutation import tests

HOLDS = "torch/test_torch_facts"
CONVERT = "torch/test_torch_convert"
POOL = "torch/test_torch_pool"
PIECES = "lowering/test_pieces"

FACTS = [
    (
        "the numbers of a sum are not read",
        "torch/facts.py",
        'numbers = _numbers(node) if name in {"add", "iadd", "mul", "imul"} else []',
        "numbers = []",
        tests(HOLDS, "not_taken_to_be_nonnegative[method add of a negative number]"),
    ),
    (
        "writing to a tensor changes nothing",
        "torch/facts.py",
        "                self._written[root] += 1",
        "                self._written[root] += 0",
        tests(HOLDS, "not_taken_to_be_nonnegative[sub_]"),
    ),
    (
        "a clamp's upper bound is not read",
        "torch/facts.py",
        "bounds = [least] if most is None else [least, most]",
        "bounds = [least]",
        tests(HOLDS, "not_taken_to_be_nonnegative[clamp with contradicting bounds]"),
    ),
    (
        "a hook before the pool is not seen",
        "torch/facts.py",
        "state.holds(source) and not pool._forward_pre_hooks",
        "state.holds(source)",
        tests(CONVERT, "a_hook_that_changes_the_input_of_a_pool"),
    ),
    (
        "the last call of a shared pool speaks for all",
        "torch/facts.py",
        'found[pool] = why if found.get(pool, why) else ""',
        "found[pool] = why",
        tests(HOLDS, "a_shared_pool_needs_all_its_inputs_to_be_nonnegative"),
    ),
    (
        "a divisor is taken to be positive",
        "torch/facts.py",
        "return float(value) if isinstance(value, int | float) else 1.0 if value is None else -1.0",
        "return 1.0",
        tests(HOLDS, "modules[ReLU then negative average]"),
    ),
]
TRACE = [
    (
        "a statement in place makes a new tensor",
        "torch/trace.py",
        "def __isub__(self",
        "def _isub(self",
        tests(HOLDS, "not_taken_to_be_nonnegative[augmented subtraction]"),
    ),
    (
        "a question whether an argument is None is passed over",
        "torch/untraceable.py",
        'if step.opname.endswith(("IF_NONE", "IF_NOT_NONE")) and not _of_self(steps[:i]):',
        "if step.opname.endswith(('IF_NONE', 'IF_NOT_NONE')) and not steps:",
        tests(HOLDS, "an_argument_that_may_be_none"),
    ),
    (
        "random numbers are drawn once",
        "torch/untraceable.py",
        "if drawn != _random():",
        "if not drawn:",
        tests(CONVERT, "what_cannot_be_rewritten_is_refused[a random choice]"),
    ),
    (
        "what a trace changes in a child stays changed",
        "torch/untraceable.py",
        "state, drawn, before = {m: _state(m) for m in root.modules()}, _random(), sys.getprofile()",
        "state, drawn, before = {root: _state(root)}, _random(), sys.getprofile()",
        tests(HOLDS, "children_are_as_they_were_before_a_trace"),
    ),
    (
        "a mode of PyTorch is frozen",
        "torch/untraceable.py",
        "    if calls.modes:\n",
        "    if not calls.codes:\n",
        tests(HOLDS, "not_taken_to_be_nonnegative[grad mode]"),
    ),
    (
        "an error that is caught is passed over",
        "torch/untraceable.py",
        'if step.opname == "PUSH_EXC_INFO":',
        'if step.opname == "NOP_":',
        tests(HOLDS, "not_taken_to_be_nonnegative[an error that is caught]"),
    ),
    (
        "a forward that asks for a type is not compared",
        "torch/compare.py",
        "if not _same(before, after) and",
        "if _same(before, 0) and",
        tests(CONVERT, "a_forward_that_asks_for_the_type_of_its_pools"),
    ),
    (
        "a converted pool that rounds keeps x >= 0",
        "torch/facts.py",
        'return "dropout" if _exact(module) else "unknown"',
        'return "dropout"',
        tests(HOLDS, "a_converted_pool_keeps_what_is_known"),
    ),
    (
        "a context is left out",
        "torch/untraceable.py",
        "    if calls.contexts:\n",
        "    if not calls.codes:\n",
        tests(CONVERT, "what_cannot_be_rewritten_is_refused[a context of a decorator]"),
    ),
    (
        "tracing counts the buffers",
        "torch/trace.py",
        "proxy_buffer_attributes = True",
        "proxy_buffer_attributes = False",
        tests(CONVERT, "buffers_are_counted_on_calls_alone"),
    ),
]
LAYER = [
    (
        "a gradient passes through the mask",
        "torch/steps.py",
        "self.constant = not wide.weight.any()",
        "self.constant = False",
        tests(POOL, "gradients_are_the_native_ones_where_the_maximum_is_unique[dilated-{'form': 'branched'}]"),
    ),
    (
        "another type keeps the constants",
        "torch/pool.py",
        "if self.anchor is not before:",
        "if before is None:",
        tests(POOL, "another_type_is_planned_anew[dilated-torch.float16-True]"),
    ),
    (
        "positions are asked for in vain",
        "torch/spec.py",
        'if getattr(module, "return_indices", False):',
        'if getattr(module, "no_such_attribute", False):',
        tests(CONVERT, "refusals_of_modules"),
    ),
    (
        "a forward of its own is not seen",
        "torch/spec.py",
        'if type(module).forward is not base.forward or "forward" in vars(module):',
        'if "backward" in vars(module):',
        tests(CONVERT, "refusals_of_modules"),
    ),
]
RUNS = [
    (
        "an adaptive window ends too early",
        "lowering/pieces.py",
        "ends = [-(-(i + 1) * size // outputs) for i in range(outputs)]",
        "ends = [(i + 1) * size // outputs for i in range(outputs)]",
        tests(PIECES, "runs_say_every_window_once"),
    ),
    (
        "an average divides by its padding too",
        "lowering/pieces.py",
        "if spec.count_include_pad else 0\n        low",
        "\n        low",
        tests(PIECES, "averages_that_exclude_their_padding_are_their_definition"),
        (
            (
                "lowering/pieces.py",
                "low, high = (-begin if spec.count_include_pad else 0), size + counted_end",
                "low, high = -begin, size + counted_end",
            ),
        ),
    ),
    (
        "the crop of a run starts one element late",
        "lowering/pieces.py",
        "weights[run.start] = 1.0",
        "weights[min(run.start + 1, len(weights) - 1)] = 1.0",
        tests(PIECES, "adaptive_pools_of_any_sizes"),
    ),
]

MUTATIONS = (*FACTS, *TRACE, *LAYER, *RUNS)
