"""GR00T N1.6: tag n1.6-release of NVIDIA/Isaac-GR00T, and the model nvidia/GR00T-N1.6-3B."""

from typing import Literal

from millrace.engine.dataset.releases.release import DEFAULT_TAG, ModelLimits, Release, Tag

# For command lines, which need the names as a type; the same as those of TAGS.
EmbodimentTag = Literal[
    "NEW_EMBODIMENT",
    "GR1",
    "ROBOCASA_PANDA_OMRON",
    "UNITREE_G1",
    "LIBERO_PANDA",
    "OXE_WIDOWX",
    "OXE_GOOGLE",
    "BEHAVIOR_R1_PRO",
    "OXE_DROID",
]
VideoBackend = Literal["torchcodec", "decord"]

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

N1D6 = Release(
    name="N1.6",
    tags=TAGS,
    # processor_config.json of the released model: max_state_dim, max_action_dim, max_action_horizon.
    limits=ModelLimits("N1.6", {"state": 128, "action": 128}, 50),
    base_model="nvidia/GR00T-N1.6-3B",
    model_type="Gr00tN1d6",  # its config.json
    backbone="N1.6's Eagle backbone",
    checkpoint_bytes=22e9,
    image_side=256,  # image_target_size of its processor_config.json
    default_horizon=16,  # the guides' and most of NVIDIA's configs'
    # gr00t/configs/finetune_config.py
    learning_rate=1e-4,
    state_dropout=0.0,
    shard_size=2**10,
    sampling_rate=0.1,
    wandb_project="finetune-gr00t-n1d6",
    # torchcodec 0.4 reads whatever its FFmpeg does, decord 0.6 no AV1.
    unread_codecs={"torchcodec": frozenset(), "decord": frozenset({"av1"})},
    # pyproject.toml
    pins={"flash-attn": "flash-attn==2.7.4.post1", "deepspeed": "deepspeed==0.17.6"},
)
