"""Stands for Lambda: imports a handler from an unpacked package alone, then answers events, one JSON line each.

python -I -S package_driver.py FOLDER        (no site-packages, no PYTHONPATH: only what was packaged)
"""

import importlib
import json
import sys
from types import SimpleNamespace

folder = sys.argv[1]
sys.path.insert(0, folder)
answers = sys.stdout
sys.stdout = sys.stderr  # what the function prints is its log

for line in sys.stdin:
    call = json.loads(line)
    module, _, name = call["handler"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    context = SimpleNamespace(
        aws_request_id="5f9c3ea0",
        function_name="berth-request",
        function_version="$LATEST",
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:berth-request",
        memory_limit_in_mb=1769,
        get_remaining_time_in_millis=lambda: 29_000,
    )
    answer = handler(call["event"], context)
    elsewhere = sorted(
        name
        for name, module in sys.modules.items()
        if name != "__main__"
        and getattr(module, "__file__", None)
        and not module.__file__.startswith((folder, sys.base_prefix))
    )
    print(json.dumps({"answer": answer, "elsewhere": elsewhere}), file=answers, flush=True)
