"""From specs to ops: one spec (`compile`), a folder of them (`build`), or one to be called at once (`load`)."""
