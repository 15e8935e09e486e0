"""The generator: ID-LoRA and its relatives over one joint audio-video diffusion transformer, LTX-2.

    schedule    noise levels of the steps             positions   where tokens lie in time and space
    audio       a sound as reference tokens           context     reference tokens beside the target, who may attend to whom
    guidance    terms → passes with plain weights     driver      one pass of the transformer
    sampler     noise → latents                       adapters    LoRA files, and whether they can be trusted
    recipe      every setting of a method             shots       a face, a voice, a prompt, looked over
    networks    loaded, and where they wait           latents     media → tokens → media
    pipeline    shots → clips                         plan        what a request will cost
    layouts     the published networks' sizes         tiny        random models of a few megabytes

A method is a choice of contexts, adapters, guidance terms and schedule; the loop is the same for all. The networks are
those of diffusers; the loop, the masks and the guidance are here. Importing this package loads no network and no library
that runs one: functions elsewhere import its modules when they run.
"""
