"""What the engines share of the statements about policies."""

from service.catalog.policies.policy_records import UnfitRules

# Workspaces without a policy have no row. In PostgreSQL the table is in the directory, beside the
# keys: whoever looks up a key reads the version of the policy in the same statement.
POLICY = "SELECT * FROM workspace_policies WHERE workspace_id = {place}"

# A classifier is of the key that made its first version.
KEY_USAGE = """
    SELECT coalesce(sum(stored_bytes), 0) AS stored_bytes, coalesce(sum(scans), 0) AS scans,
        (SELECT count(*) FROM collections WHERE workspace_id = {owner} AND key_id = {key})
            AS collections,
        (
            SELECT count(*) FROM classifiers AS k
            JOIN classifier_versions AS v ON v.classifier_seq = k.seq AND v.number = 1
            WHERE k.workspace_id = {owner} AND v.key_id = {key}
        ) AS classifiers
    FROM key_storage WHERE workspace_id = {owner} AND key_id = {key}
"""


def unfit_conditions(rules: UnfitRules) -> dict[str, tuple[str, list[str]]]:
    """Rule -> a condition over the table ``scans AS s`` with ``?``, and its variables.

    The analysis is JSON text of our own codec, so a word of it is looked for as text: to parse it
    would take several times as long.
    """
    conditions: dict[str, tuple[str, list[str]]] = {}
    if rules.pseudonyms is not None:
        subjects, studies = rules.pseudonyms
        conditions["pseudonyms"] = (
            "(s.subject_id IS NOT NULL AND substr(s.subject_id, 1, length(?)) <> ?"
            " OR s.study_id IS NOT NULL AND substr(s.study_id, 1, length(?)) <> ?)",
            [subjects, subjects, studies, studies],
        )
    if rules.risks:
        words = [f'%"burned_in_risk": "{risk}"%' for risk in rules.risks]
        conditions["risks"] = (f"({' OR '.join(['s.analysis LIKE ?'] * len(words))})", words)
    if rules.whole_frames:
        conditions["whole_frames"] = ("s.analysis LIKE ?", ['%"found": "whole"%'])
    if rules.images:
        kept = "EXISTS (SELECT 1 FROM scan_images AS i WHERE i.row_id = s.row_id)"
        conditions["images"] = (kept, [])
    return conditions
