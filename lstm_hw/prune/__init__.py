"""Pruning: sparsity patterns, masks with exact counts, and the lanes' balance; numpy alone.

>>> from lstm_hw import load_model
>>> from lstm_hw.prune import PruneConfig, check_pruned, prune
>>> pruned = prune(load_model("model.safetensors"), PruneConfig("bank_balanced", bank=64, keep=8))
>>> check_pruned(pruned.model, PruneConfig("8:64"))

``lstm_hw.prune.tune``, which needs torch, trains what is left.
"""

from .apply import Pruned, PrunedMatrix, check_pruned, check_quantized, prune, quantizing
from .balance import Balance, balance
from .patterns import (
    PATTERNS,
    BankBalanced,
    BlockCirculant,
    ColumnBalanced,
    LoadBalanced,
    MaskPattern,
    NOfM,
    Pattern,
    RowBalanced,
    Unstructured,
)
from .settings import PruneConfig

__all__ = [
    "PATTERNS",
    "Balance",
    "BankBalanced",
    "BlockCirculant",
    "ColumnBalanced",
    "LoadBalanced",
    "MaskPattern",
    "NOfM",
    "Pattern",
    "PruneConfig",
    "Pruned",
    "PrunedMatrix",
    "RowBalanced",
    "Unstructured",
    "balance",
    "check_pruned",
    "check_quantized",
    "prune",
    "quantizing",
]
