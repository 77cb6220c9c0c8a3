"""One validated configuration: what a run is, as nested sections with typed keys."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Logger = Literal["tensorboard", "mlflow", "wandb"]
LOGGERS: tuple[Logger, ...] = get_args(Logger)
"""Programs that a run can be followed in."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change afterwards.

    Example:
        >>> OptimConfig(lr=0.1).lr
        0.1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        """A word alone is the name."""
        return {"name": value} if isinstance(value, str) and "name" in cls.model_fields else value


class DataConfig(Section):
    """Where the images come from and how they are cut and split.

    Example:
        >>> DataConfig().val
        0.15
    """

    size: Count | tuple[Count, Count] | Literal["auto"] = "auto"
    """side, or (height, width), in pixels; auto enlarges small images and takes ``fallback_size`` else"""
    fallback_size: Count = 224
    resize: Literal["squash", "crop"] = "squash"
    val: Share = 0.15
    test: Share = 0.2
    near_duplicates: bool = True
    group_duplicates: bool = True
    """keep copies of an image on one side of a split; false lets them leak, to show how much that flatters"""
    drop_leaks: bool = False
    """leave training images out that are copies of images in a part that the source brings"""
    profile: Literal["default", "none", "exponential", "step", "pareto", "explicit"] = "default"
    imb_factor: Annotated[float, Field(gt=0)] | None = None
    counts: tuple[Count, ...] | None = None
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of training labels that are replaced by another class, to study wrong labels; never others"""
    skip_unreadable: bool = False
    root: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    labels_column: str | None = None
    """column of a CSV list that holds several labels an image, separated by ``label_separator``"""
    label_separator: str = ";"
    label_columns: tuple[str, ...] = ()
    """columns of a CSV list that hold 0 or 1, one a label, where images have several"""
    drop_labels: tuple[str, ...] = ()
    """labels that are left out where images have several"""
    unlabelled: Literal["negative", "refuse"] = "negative"
    """an image without labels, where images have several, is a negative of all, or an error"""
    target: str | None = None
    """column of the classes where the source is a table; null where it holds images"""
    drop: tuple[str, ...] = ()
    """columns of a table that are left out"""
    categories: tuple[str, ...] = ()
    """columns of numbers in a table that are names of categories"""
    resident: Literal["auto", "device", "memory", "stream"] = "auto"
    """where decoded images live: on the GPU, in memory, or nowhere (stream); auto goes by size"""
    resident_gb: NonNegative = 4.0
    """decoded images up to this size live in memory; larger sets are decoded while training"""
    workers: Annotated[int, Field(ge=0)] = 2
    """decoding processes; 0 decodes in the training process"""
    prefetch: Count = 2
    """batches that every decoding process works ahead"""
    on_unreadable: Literal["stop", "skip"] = "stop"
    """an image that cannot be decoded while training ends the run, or is passed over and counted"""


class ModelConfig(Section):
    """The backbone.

    Example:
        >>> ModelConfig().name
        'tripath'
    """

    name: str = "tripath"
    pretrained: bool | Literal["auto"] = False
    """auto takes pretrained weights where they can be had and says so where not"""
    options: dict[str, Any] = {}
    """of a network for tables, such as ``hidden`` and ``dropout``"""


class NamedConfig(Section):
    """A component by name, with its own options.

    Example:
        >>> NamedConfig(name="csba", options={"branches": 4}).options
        {'branches': 4}
    """

    name: str
    options: dict[str, Any] = {}


class CombineConfig(Section):
    """What becomes of the gradients of single classes on their way to the optimiser.

    Example:
        >>> CombineConfig(name="pcgrad").parameters
        'backbone'
    """

    name: str = "none"
    """none is ordinary training on the sum of all examples"""
    parameters: Literal["backbone", "all"] = "backbone"
    """those whose class gradients are combined; the others get the mean of the same class gradients"""
    prior: Literal["uniform", "batch"] = "uniform"
    """uniform counts every class of a batch the same, a correction of the class prior as class weights are"""
    options: dict[str, Any] = {}


class ArchitectureConfig(Section):
    """Networks that own several copies of a backbone's last stages.

    Example:
        >>> ArchitectureConfig(name="multi_expert", options={"experts": 3}).name
        'multi_expert'
    """

    name: Literal["single", "multi_expert", "bbn"] = "single"
    options: dict[str, Any] = {}


class AuxiliaryConfig(Section):
    """A second loss on features, minimised together with the supervised one.

    Example:
        >>> AuxiliaryConfig(name="nt_xent", weight=0.5).projector
        (512, 128)
    """

    name: str = "none"
    """a loss that takes features; ``nt_xent`` is Joint-SSL"""
    weight: NonNegative = 1.0
    """lambda; 0 is the supervised run, bit for bit"""
    projector: tuple[Count, Count] | None = (512, 128)
    """hidden and output width of the two-layer projector; null hands the pooled features over"""
    views: Annotated[int, Field(ge=0)] = 2
    """SimCLR views of every image; 0 takes the images of the supervised loss"""
    options: dict[str, Any] = {}


class SharpnessConfig(Section):
    """A sharpness-aware optimiser around the regime's.

    Example:
        >>> SharpnessConfig(name="sam", rho=0.1).rho
        0.1
    """

    name: Literal[
        "none", "sam", "direction", "scaled", "per_class", "imbsam", "cc_sam", "focal_sam", "conflict_sam"
    ] = "none"
    """``direction``, ``scaled`` and ``per_class`` are the readings of asymmetric SAM"""
    rho: NonNegative | None = None
    """radius; null is the published one of the variant: 0.05, Focal-SAM 0.2, CC-SAM 1e-6"""
    options: dict[str, Any] = {}


class OptimConfig(Section):
    """The optimiser.

    Example:
        >>> OptimConfig().name
        'adam'
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: NonNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """for sgd"""
    nesterov: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    """for adam and adamw"""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=true needs momentum above 0")
        return self


class StageConfig(Section):
    """A further stage of training, which begins with the best weights of the one before.

    Example:
        >>> StageConfig(name="crt", head="reset").trains
        'head'
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """as it appears in logs and folders: letters, digits, _ and -"""
    kind: Literal["train", "tau_norm", "ncm", "merge"] = "train"
    """tau_norm and ncm replace the head without training; merge averages two fine-tunes of the network"""
    epochs: Count = 10
    trains: Literal["all", "head", "scales", "head_and_scales"] = "head"
    """what learns; scales are one factor a class on the logits. All else stays still, BatchNorm too"""
    head: Literal["keep", "reset"] = "keep"
    features: Literal["images", "smote"] = "images"
    """smote trains the head on pooled features, rare classes filled up by interpolation"""
    sampler: NamedConfig = NamedConfig(name="instance")
    loss: NamedConfig | None = None
    """null keeps the method's loss"""
    mixing: NamedConfig = NamedConfig(name="none")
    optim: OptimConfig | None = None
    """null keeps the regime's; the rate falls with a cosine either way"""
    head_lr_factor: Annotated[float, Field(gt=0)] = 1.0
    """of the head's rate over that of the scales"""
    max_norm: bool = False
    """project the head's rows into a ball after every step"""
    tau: Annotated[float, Field(ge=0)] | Literal["tuned"] = "tuned"
    """for tau_norm; tuned chooses from 0 to 2 on validation data"""
    neighbours: Count = 5
    """for smote"""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        for key, field in type(self).model_fields.items():
            if key not in {"name", "kind", *self._known()} and getattr(self, key) != field.default:
                raise ValueError(f"{key} means nothing to a stage of this kind; leave it out")
        return self

    def _known(self) -> set[str]:
        if self.kind in ("tau_norm", "ncm"):
            return {"tau"} if self.kind == "tau_norm" else set()
        known = {"epochs", "trains", "loss", "optim"}
        if self.kind == "merge":
            return known | {"sampler", "mixing"}
        known |= {"head", "features"} if "scales" in self.trains else {"head", "features", "max_norm"}
        if self.features == "smote":
            return known | {"neighbours"}
        known |= {"sampler", "mixing"}
        return known | {"head_lr_factor"} if self.trains == "head_and_scales" else known


class ScheduleConfig(Section):
    """The learning-rate schedule (``engine.Schedule``).

    Example:
        >>> ScheduleConfig(name="step", every=23).gamma
        0.1
    """

    name: Literal["constant", "step", "multistep", "cosine"] = "constant"
    every: Count = 30
    milestones: tuple[Count, ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: NonNegative = 0.0


class TrainConfig(Section):
    """Length, batches, selection, precision.

    Example:
        >>> TrainConfig().monitor
        'macro_f1'
    """

    epochs: Count = 30
    batch_size: Count = 64
    patience: Annotated[int, Field(ge=0)] = 0
    monitor: Literal[
        "macro_f1",
        "accuracy",
        "balanced_accuracy",
        "loss",
        "focus_f1",
        "mean_average_precision",
        "macro_auc",
    ] = "macro_f1"
    """figure of validation data that chooses the epoch; the last two are for several labels an image, where
    mean_average_precision is the default"""
    augment: tuple[str, ...] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: Literal["off", "default", "reduce-overhead", "auto"] = "off"
    """torch.compile of the network; reduce-overhead adds CUDA graphs; auto is what a measured trial finds"""
    fused: bool | Literal["auto"] = False
    """the optimiser's fused kernel"""
    clip_norm: NonNegative = 0.0
    """largest norm of the gradient of a step; 0 does not clip"""
    threads: Count | Literal["auto"] = "auto"
    """threads of the CPU, which change the last digits; auto is what PyTorch takes, written down and kept"""
    devices: Count | Literal["auto"] = "auto"
    """processes that share every batch; auto is what torchrun or SLURM started"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    save_minutes: NonNegative = 10.0
    """least time between two saves within an epoch, of what a killed run goes on from"""
    log_every: Count | Literal["auto"] = "auto"
    """steps between two looks at the loss, which wait for the device; auto is 1 on a CPU, 20 on a GPU"""
    loggers: tuple[Logger, ...] = ()
    """programs that the run is followed in, beside its own files; each is an extra of the package"""
    tensorboard: bool = False
    """the same as tensorboard among ``loggers``"""

    @field_validator("compile", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        """YAML takes ``off`` for false."""
        return "off" if value is False else value


class InterferenceConfig(Section):
    """The measurements that a run makes after its first epoch and at its end, and while it trains.

    Example:
        >>> InterferenceConfig().parameters
        'backbone'
    """

    enabled: bool = True
    parameters: str = "backbone"
    max_per_class: Count = 200
    folds: Annotated[int, Field(ge=0)] = 8
    """disjoint parts of each class, for the error bars; 0 for none"""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """about the most that one of these measurements may take: it is then of as many images as that allows"""
    monitor_every: Annotated[int, Field(ge=0)] = 0
    """steps between two looks at the class gradients of training, into ``metrics.jsonl``; 0 for none"""


class ReliabilityConfig(Section):
    """What the report and ``tailgrad reliability`` say of trust, class by class; it changes no training.

    Example:
        >>> ReliabilityConfig().alpha
        0.1
    """

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """share of images whose conformal set may miss their class"""
    score: Literal["hinge", "cumulative"] = "hinge"
    """hinge gives the smallest sets, cumulative sets that adapt to the image"""
    answered: Annotated[float, Field(gt=0, le=1)] = 0.8
    """share of validation images that are answered where the model may abstain"""


class ReportConfig(Section):
    """The HTML report at the end of a run; it changes no result.

    Example:
        >>> ReportConfig().images
        True
    """

    images: bool = True
    """hold small copies of a few test images; false for reports that go where the images may not"""


class Config(Section):
    """Everything that decides a run's result.

    Example:
        >>> Config(source="digits-lt").train.epochs
        30
    """

    source: str
    regime: str = ""
    method: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """null follows ``seed`` where the split is ours, and is 0 where the source brings a test set"""
    focus: str | None = None
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    head: NamedConfig = NamedConfig(name="baseline")
    loss: NamedConfig = NamedConfig(name="cross_entropy")
    architecture: ArchitectureConfig = ArchitectureConfig()
    auxiliary: AuxiliaryConfig = AuxiliaryConfig()
    sampler: NamedConfig = NamedConfig(name="instance")
    """which example comes next"""
    partner: NamedConfig = NamedConfig(name="none")
    """a second sampler, for methods that pair batches"""
    mixing: NamedConfig = NamedConfig(name="none")
    """how images of a batch are mixed"""
    resample: NamedConfig = NamedConfig(name="none")
    """what fills up or cuts down the training rows of a table, by imbalanced-learn"""
    estimator: NamedConfig = NamedConfig(name="none")
    """a classifier for tables that is no network, in place of one"""
    sharpness: SharpnessConfig = SharpnessConfig()
    combine: CombineConfig = CombineConfig()
    stages: tuple[StageConfig, ...] = ()
    posthoc: tuple[NamedConfig, ...] = ()
    """fitted on validation logits, one after the other"""
    allow_double_correction: bool = False
    """let sampler, weights, shifts and posthoc correct the class prior more than once"""
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    train: TrainConfig = TrainConfig()
    interference: InterferenceConfig = InterferenceConfig()
    reliability: ReliabilityConfig = ReliabilityConfig()
    report: ReportConfig = ReportConfig()


METHOD_KEYS = (
    "head",
    "loss",
    "architecture",
    "auxiliary",
    "sampler",
    "partner",
    "mixing",
    "resample",
    "estimator",
    "sharpness",
    "combine",
    "stages",
    "posthoc",
    "allow_double_correction",
)
"""Sections that a method may set; everything else belongs to the regime."""
