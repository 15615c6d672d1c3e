"""Stand-in for `pulumi-language-python`: runs Pulumi programs and policy packs for the engine."""
