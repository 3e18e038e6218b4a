"""Roles, the rules that follow from them, the groups that carry the rules, and their audit."""
