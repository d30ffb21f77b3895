"""Operations for migrations."""

from collections.abc import Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class Together(Operation):
    """Several operations, for which models are built once. Django builds a model anew, and all that it is related to,
    after every single operation: with a hundred models that is nine tenths of the time of a first migration.

    None of them may change what another one of them has added: they all see the models as they are afterwards.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        # Where no models are built, an operation only changes their description.
        vars(state).pop("apps", None)
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for operation in self.operations:
            operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        # Each one undoes its own part, so that it needs the models as they were round it.
        states = [to_state.clone()]
        for operation in self.operations:
            states.append(states[-1].clone())
            operation.state_forwards(app_label, states[-1])
        rounds = zip(self.operations, states[1:], states, strict=False)
        for operation, after, before in reversed(list(rounds)):
            operation.database_backwards(app_label, schema_editor, after, before)

    def describe(self) -> str:
        return f"{len(self.operations)} operations together"
