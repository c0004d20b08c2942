"""GR00T N1.6: tag n1.6-release of NVIDIA/Isaac-GR00T, and the model nvidia/GR00T-N1.6-3B."""

from millrace.engine.dataset.releases.release import DEFAULT_TAG, Build, Field, ModelLimits, Release, Tag

# Names and values: gr00t/data/embodiment_tags.py. Projectors: gr00t/model/gr00t_n1d6/processing_gr00t_n1d6.py.
# Configs: MODALITY_CONFIGS of gr00t/configs/data/embodiment_configs.py, whose register_modality_config stops at those.
TAGS = (
    Tag(DEFAULT_TAG, "new_embodiment", 10),
    Tag("GR1", "gr1", 20),
    Tag("ROBOCASA_PANDA_OMRON", "robocasa_panda_omron", 13),
    Tag("UNITREE_G1", "unitree_g1", 8, has_config=True),
    Tag("LIBERO_PANDA", "libero_panda", 2, has_config=True),
    Tag("OXE_WIDOWX", "oxe_widowx", 1, has_config=True),
    Tag("OXE_GOOGLE", "oxe_google", 0, has_config=True),
    Tag("BEHAVIOR_R1_PRO", "behavior_r1_pro", 24, has_config=True),
    Tag("OXE_DROID", "oxe_droid", 16, has_config=True),
)
# pyproject.toml
PINS = {
    "torch": "torch==2.7.1",
    "transformers": "transformers==4.51.3",
    "torchcodec": "torchcodec==0.4.0",
    "flash-attn": "flash-attn==2.7.4.post1",
    "deepspeed": "deepspeed==0.17.6",
}

N1D6 = Release(
    name="N1.6",
    choice="n1.6",
    package="n1d6",
    marker="configs/model/gr00t_n1d6.py",
    tags=TAGS,
    # processor_config.json of the released model: max_state_dim, max_action_dim, max_action_horizon.
    limits=ModelLimits("N1.6", {"state": 128, "action": 128}, 50),
    base_model="nvidia/GR00T-N1.6-3B",
    model_type="Gr00tN1d6",  # its config.json
    needs_flash_attention=True,  # gr00t/model/modules/eagle_backbone.py asserts it
    backbone="N1.6's Eagle backbone",
    checkpoint_bytes=22e9,
    # Gr00tN1d6Config and Gr00tN1d6Processor
    config_defaults={
        "max_state_dim": 29,
        "max_action_dim": 29,
        "action_horizon": 16,
        "max_num_embodiments": 32,
        "tune_top_llm_layers": 4,
    },
    processor_defaults={
        "max_state_dim": 29,
        "max_action_dim": 29,
        "max_action_horizon": 40,
        "shortest_image_edge": 512,
    },
    image_side=256,  # image_target_size of its processor_config.json
    # gr00t/configs/finetune_config.py
    state_dropout=0.0,
    wandb_project="finetune-gr00t-n1d6",
    flags={"video_backend": Field("configs/data/data_config.py", "DataConfig", "video_backend")},
    branch="n1.6-release",
    # requires-python is >=3.10,<3.13; flash-attn has wheels for 3.10 and 3.12.
    builds=tuple(Build(python, PINS) for python in ("3.10", "3.12", "3.11")),
)
