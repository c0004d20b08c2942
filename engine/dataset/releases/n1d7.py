"""GR00T N1.7: tag n1.7-release of NVIDIA/Isaac-GR00T and what came after it, and the model nvidia/GR00T-N1.7-3B.

Early access, tag n1.7-release, runs on Python 3.10; the builds of summer 2026 and later run on Python 3.12, and have
flags that early access lacks: which ones an installed build has is read from its config classes.
"""

from millrace.engine.dataset.releases.release import DEFAULT_TAG, Build, Field, ModelLimits, Release, Tag

# Names and values: gr00t/data/embodiment_tags.py. Projectors: gr00t/model/gr00t_n1d7/processing_gr00t_n1d7.py.
# Configs: MODALITY_CONFIGS of gr00t/configs/data/embodiment_configs.py; those of the other pretrained tags are in the
# base model's processor_config.json, and the launcher does not train with them. UNITREE_G1_SONIC and the ROBOCASA tags
# came after early access.
TAGS = (
    Tag(DEFAULT_TAG, "new_embodiment", 10),
    Tag("OXE_DROID_RELATIVE_EEF_RELATIVE_JOINT", "oxe_droid_relative_eef_relative_joint", 24, has_config=True),
    Tag("XDOF", "xdof_relative_eef_relative_joint", 27),
    Tag("XDOF_SUBTASK", "xdof_relative_eef_relative_joint_subtask", 27),
    Tag("REAL_G1", "real_g1_relative_eef_relative_joints", 25),
    Tag("REAL_R1_PRO_SHARPA", "real_r1_pro_sharpa_relative_eef", 26),
    Tag("REAL_R1_PRO_SHARPA_HUMAN", "real_r1_pro_sharpa_relative_eef_human", 26),
    Tag("REAL_R1_PRO_SHARPA_MAXINSIGHTS", "real_r1_pro_sharpa_relative_eef_maxinsights", 26),
    Tag("REAL_R1_PRO_SHARPA_MECKA", "real_r1_pro_sharpa_relative_eef_mecka", 26),
    Tag("UNITREE_G1", "unitree_g1_full_body_with_waist_height_nav_cmd", 25, has_config=True),
    Tag("UNITREE_G1_SONIC", "unitree_g1_sonic", 11, has_config=True),
    Tag("SIMPLER_ENV_GOOGLE", "simpler_env_google", 0, has_config=True),
    Tag("SIMPLER_ENV_WIDOWX", "simpler_env_widowx", 1, has_config=True),
    Tag("LIBERO_PANDA", "libero_sim", 2, has_config=True),
    Tag("ROBOCASA_PANDA_OMRON", "robocasa_panda_omron", 10, has_config=True),
    Tag("ROBOCASA_GR1_TABLETOP", "robocasa_gr1_tabletop", 10, has_config=True),
)
# Config classes of the package gr00t.
LAUNCHER = ("configs/finetune_config.py", "FinetuneConfig")
DATA = ("configs/data/data_config.py", "DataConfig")

N1D7 = Release(
    name="N1.7",
    choice="n1.7",
    package="n1d7",
    marker="configs/model/gr00t_n1d7.py",
    tags=TAGS,
    missing_tags={
        "GR1": f"there is none for this robot; train it as {DEFAULT_TAG}",
        "OXE_DROID": "its successor is OXE_DROID_RELATIVE_EEF_RELATIVE_JOINT, with other joint groups",
        "OXE_GOOGLE": "its successor is SIMPLER_ENV_GOOGLE",
        "OXE_WIDOWX": "its successor is SIMPLER_ENV_WIDOWX",
        "BEHAVIOR_R1_PRO": f"there is none for this robot; train it as {DEFAULT_TAG}",
    },
    # Gr00tN1d7Config: max_state_dim, max_action_dim, action_horizon.
    limits=ModelLimits("N1.7", {"state": 132, "action": 132}, 40),
    base_model="nvidia/GR00T-N1.7-3B",
    model_type="Gr00tN1d7",
    # gr00t/experiment/launch_finetune.py; gr00t/model/modules/qwen3_backbone.py loads it, then the checkpoint over it.
    gated_backbone="nvidia/Cosmos-Reason2-2B",
    backbone="N1.7's Qwen3-VL backbone",
    checkpoint_bytes=22e9,  # as N1.6's, of about as many weights
    # Gr00tN1d7Config and Gr00tN1d7Processor
    config_defaults={
        "max_state_dim": 132,
        "max_action_dim": 132,
        "action_horizon": 40,
        "max_num_embodiments": 32,
        "tune_top_llm_layers": 0,
    },
    processor_defaults={
        "max_state_dim": 29,
        "max_action_dim": 29,
        "max_action_horizon": 50,
        "shortest_image_edge": 256,
    },
    pads_to_model_horizon=True,  # gr00t/model/gr00t_n1d7/setup.py passes action_horizon as max_action_horizon
    has_fingerprints=True,  # gr00t/data/stats.py since July 2026; not in early access
    image_side=256,  # image_target_size of Gr00tN1d7Config
    # gr00t/configs/finetune_config.py
    state_dropout=0.2,
    wandb_project="finetune-gr00t-n1d7",
    # Early access has the first alone. Its processor would take no other from the launcher's config, as its
    # from_pretrained ignores them; later builds choose the video decoder themselves.
    flags={
        "skip_weight_loading": Field(*LAUNCHER, "skip_weight_loading"),
        "use_percentiles": Field(*LAUNCHER, "use_percentiles"),
        "shortest_image_edge": Field(*LAUNCHER, "shortest_image_edge"),
        "crop_fraction": Field(*LAUNCHER, "crop_fraction"),
        "ds_weights_alpha": Field(*LAUNCHER, "ds_weights_alpha"),
        "video_backend": Field(*DATA, "video_backend"),
    },
    branch="main",
    # pyproject.toml of the builds for Python 3.12, and of early access
    builds=(
        Build(
            "3.12",
            {
                "torch": "torch==2.9.0",
                "transformers": "transformers==4.57.3",
                "torchcodec": "torchcodec==0.8.0",
                "flash-attn": "flash-attn==2.8.3",
                "deepspeed": "deepspeed==0.17.6",
            },
        ),
        Build(
            "3.10",
            {
                "torch": "torch==2.7.1",
                "transformers": "transformers==4.57.3",
                "torchcodec": "torchcodec==0.4.0",
                "flash-attn": "flash-attn==2.7.4.post1",
                "deepspeed": "deepspeed==0.17.6",
            },
        ),
    ),
)
