{
  'targets': [
    {
      'target_name': 'memcoord',
      'sources': [
        'native/addon.cc',
        'native/calls.cc',
        'native/connection.cc',
        'native/environment.cc',
        'native/error.cc',
        'native/event_loop.cc',
        'native/guest_gate.cc',
        'native/job.cc',
        'native/js_connection.cc',
        'native/js_values.cc',
        'native/lister.cc',
        'native/roster.cc',
        'native/sampler.cc',
        'native/session.cc',
        'native/thread.cc',
        'native/timer.cc',
        'native/worker_pool.cc',
      ],
      'dependencies': ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all"],
      'defines': [
        'NAPI_VERSION=8',
        # A promise that is settled while its worker is being terminated cannot throw: not an error of ours.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags': ["<!@(sh scripts/find-libvirt --cflags)", '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'],
      'cflags_cc': ['-std=c++17'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fno-rtti'],
      'libraries': ["<!@(sh scripts/find-libvirt --libs)"],
      'ldflags': [
        # Node unloads an addon with the last worker that used it; libvirt's event loop and calls in flight outlive that worker.
        '-Wl,-z,nodelete',
      ],
    },
  ],
}
