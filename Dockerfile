# The node in an image of its own (docs/installation.md):
#     docker build --target cpu -t wildhands .
#     docker build --target cuda -t wildhands:cuda .
#     docker run --rm --network host --ipc host wildhands image:=/camera/image_raw camera_info:=/camera/camera_info
ARG ROS_DISTRO=jazzy

FROM ros:${ROS_DISTRO}-ros-base AS cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws
COPY package.xml requirements/ros.txt src/wildhands_ros/
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y python3-venv \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths src --ignore-src -y \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --system-site-packages venv \
    && touch venv/COLCON_IGNORE \
    && venv/bin/pip install --no-cache-dir -r src/wildhands_ros/ros.txt
COPY . src/wildhands_ros
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && source venv/bin/activate \
    && python -m colcon build --packages-select wildhands_ros
COPY scripts/docker_entrypoint /
ENTRYPOINT ["/docker_entrypoint"]
CMD []

FROM cpu AS cuda
# The wheels include the CUDA libraries; the driver comes with `docker run --gpus all`.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
# hadolint ignore=DL3013
RUN venv/bin/pip install --no-cache-dir torch torchvision
